//! Fitting a direction or subspace by one of the methods, and judging it on pairs that it has not seen.
//!
//! * *mean*: the class means' differences from their mean (one direction for two classes).
//! * *probe*: the span of a linear probe's coefficients.
//! * *leace*: what the LEACE eraser takes away, with the eraser itself.
//! * *das*: a basis trained on interchanges.
//! * *boundless*: the same with the number of dimensions learnt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::boundless::train_boundless;
use super::das::{DasSpec, train};
use super::eraser::Eraser;
use super::error::DirectionError;
use super::judge::{JudgeSpec, Judged, accuracy_and_share, judge};
use super::material::Material;
use super::matrix::{Matrix, Vector, span};
use super::moments::Moments;
use super::place::Place;
use super::probe::Probe;
use super::reading::{PENALTY, Readable, Readings, named};
use super::stage::Stage;
use crate::base::{Progress, suggestion};
use crate::intervene::{InterveneError, Site, Subspace};
use crate::model::LanguageModel;
use crate::stats::Estimate;

/// Fewest pairs that a fit takes.
pub const LEAST_PAIRS: usize = 8;
/// Dimensions that a boundless search starts from.
const BOUNDLESS_RANK: usize = 32;
/// Fewest pairs that a subspace is judged on.
pub const LEAST_HELD_OUT: usize = 4;

/// How a subspace is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Difference in means.
    Mean,
    /// A linear probe's coefficients.
    Probe,
    /// The LEACE eraser.
    Leace,
    /// Low-rank distributed alignment search.
    Das,
    /// Boundless distributed alignment search.
    Boundless,
}

impl Method {
    /// All methods.
    pub const ALL: [Method; 5] = [Method::Mean, Method::Probe, Method::Leace, Method::Das, Method::Boundless];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Mean => "mean",
            Method::Probe => "probe",
            Method::Leace => "leace",
            Method::Das => "das",
            Method::Boundless => "boundless",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|method| method.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Method::name);
            let hint = suggestion(text, names).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            format!("{text:?} is no method; known are {}{hint}", names.join(", "))
        })
    }
}

/// What is asked of a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitSpec {
    /// How.
    pub method: Method,
    /// Dimensions: 1 for *das*, and as many as the classes span for the others, where not given. The most that
    /// *boundless* may keep: 32, or the width where that is less.
    pub rank: Option<usize>,
    /// Training of *das*; its rank is not read.
    pub das: DasSpec,
    /// The held-out checks.
    pub judge: JudgeSpec,
}

/// A subspace at a site with its eraser.
#[derive(Debug, Clone, PartialEq)]
pub struct Direction {
    /// Where.
    pub site: Site,
    /// How it was found.
    pub method: Method,
    /// An orthonormal basis `[w, k]`.
    pub basis_wk: Matrix,
    /// LEACE's map for *leace*, else the orthogonal projection around the training mean.
    pub eraser: Eraser,
}

impl Direction {
    /// The subspace as plans take it.
    pub fn subspace(&self) -> Result<Subspace, InterveneError> {
        let rows = super::matrix::to_tensor(&self.basis_wk.transpose(), &candle_core::Device::Cpu)?;
        Subspace::new(&rows)
    }
}

/// What a fit says of the material that it saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The ids of the pairs.
    pub pairs: Vec<String>,
    /// The values of the variable, in the order of the classes.
    pub values: Vec<String>,
    /// Interchange accuracy on the training pairs.
    pub accuracy: Estimate,
    /// Share on the training pairs.
    pub share: Estimate,
    /// The loss of each step in nats (*das*, *boundless*).
    pub curve: Vec<f64>,
    /// The final loss of each start (*das*, *boundless*).
    pub losses: Vec<f64>,
}

/// What is found on pairs that a fit has not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// How many pairs.
    pub pairs: usize,
    /// Interchanges, controls and dormant paths.
    pub judged: Judged,
    /// How well the variable can be read at the site.
    pub readable: Readable,
    /// The same inside the subspace alone.
    pub readable_inside: Readable,
    /// The same after the eraser: leakage that can be read.
    pub readable_erased: Readable,
    /// Why the subspace is not to be taken for the variable's; none where all checks pass.
    pub objections: Vec<String>,
}

/// A fitted direction with everything said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The direction.
    pub direction: Direction,
    /// On what it was fitted.
    pub training: Training,
    /// On other pairs.
    pub held_out: HeldOut,
}

/// Fits on one part and judges on the other.
pub fn fit(
    model: &LanguageModel,
    site: &Site,
    (fitted, held_out): (&Material, &Material),
    spec: &FitSpec,
    progress: &dyn Progress,
) -> Result<Fitted, DirectionError> {
    let place = Place::new(site, model.architecture())?;
    place.check_rank(spec.rank.unwrap_or(1))?;
    fitted.at_least(LEAST_PAIRS, "pairs to fit on")?;
    held_out.at_least(LEAST_HELD_OUT, "held-out pairs")?;
    let readings = Readings::of(model, &place, &fitted.pairs)?;
    let stage = Stage::new(model, &place, &fitted.exchanges)?;
    let mean = readings.x_nw.row_mean().transpose();
    let (mut curve, mut losses) = (Vec::new(), Vec::new());
    let (basis_wk, eraser) = match spec.method {
        Method::Das => {
            let trained = train(&stage, &DasSpec { rank: spec.rank.unwrap_or(1), ..spec.das }, progress)?;
            (curve, losses) = (trained.curve, trained.losses);
            orthogonal(trained.basis_wk, &mean)
        }
        Method::Boundless => {
            let rank = spec.rank.unwrap_or(BOUNDLESS_RANK.min(place.width()));
            let trained = train_boundless(&stage, &DasSpec { rank, ..spec.das }, progress)?;
            (curve, losses) = (trained.curve, trained.losses);
            orthogonal(trained.basis_wk, &mean)
        }
        Method::Mean => orthogonal(ranked(span(&class_means(&readings)), spec, &readings)?, &mean),
        Method::Probe => {
            let probe = Probe::fit(&readings.x_nw, &readings.classes, PENALTY)?;
            orthogonal(ranked(span(probe.coefficients()), spec, &readings)?, &mean)
        }
        Method::Leace => {
            let mut moments = Moments::new(place.width(), readings.classes.count());
            moments.add(&readings.x_nw, &readings.classes.indicators());
            let eraser = Eraser::leace(&moments)?;
            if spec.rank.is_some_and(|rank| rank != eraser.rank()) {
                return Err(of_classes(spec, &readings, eraser.rank()));
            }
            (eraser.removed(), eraser)
        }
    };
    let [accuracy, share] = accuracy_and_share(&stage, &basis_wk, &spec.judge, progress)?;
    let direction = Direction { site: site.clone(), method: spec.method, basis_wk, eraser };
    let held_out = test(model, &direction, held_out, &spec.judge, progress)?;
    let pairs = fitted.pairs.iter().chain(&fitted.others).map(|pair| pair.id.clone()).collect();
    let training = Training { pairs, values: readings.values, accuracy, share, curve, losses };
    Ok(Fitted { direction, training, held_out })
}

/// Judges a direction on a model and pairs; the same checks as after a fit.
pub fn test(
    model: &LanguageModel,
    direction: &Direction,
    material: &Material,
    spec: &JudgeSpec,
    progress: &dyn Progress,
) -> Result<HeldOut, DirectionError> {
    let place = placed(model, direction)?;
    material.at_least(LEAST_HELD_OUT, "held-out pairs")?;
    let stage = Stage::new(model, &place, &material.exchanges)?;
    let judged = judge(&stage, &direction.basis_wk, spec, progress)?;
    let readings = Readings::of(model, &place, &material.pairs)?;
    let bootstrap = named(&spec.bootstrap, "reading");
    let objections = judged.objections();
    Ok(HeldOut {
        pairs: material.pairs.len(),
        readable: readings.readable(&bootstrap),
        readable_inside: readings.with(&readings.x_nw * &direction.basis_wk).readable(&bootstrap),
        readable_erased: readings.with(direction.eraser.apply(&readings.x_nw)).readable(&bootstrap),
        judged,
        objections,
    })
}

/// The direction's place in a model; refused where the activation there has another width.
pub fn placed(model: &LanguageModel, direction: &Direction) -> Result<Place, DirectionError> {
    let place = Place::new(&direction.site, model.architecture())?;
    match place.width() == direction.basis_wk.nrows() {
        true => Ok(place),
        false => Err(DirectionError::OtherModel {
            expected: format!("a model of width {} at {}", direction.basis_wk.nrows(), direction.site),
            found: format!("one of width {}", place.width()),
            hint: "fit a direction on this model",
        }),
    }
}

fn orthogonal(basis_wk: Matrix, mean_w: &Vector) -> (Matrix, Eraser) {
    let eraser = Eraser::orthogonal(&basis_wk, mean_w);
    (basis_wk, eraser)
}

/// The class means less their mean, `[w, c]`.
fn class_means(readings: &Readings) -> Matrix {
    let indicators_nc = readings.classes.indicators();
    let mut means_wc = readings.x_nw.tr_mul(&indicators_nc);
    for (mut column, of_class) in means_wc.column_iter_mut().zip(indicators_nc.column_iter()) {
        column /= of_class.sum().max(1.0);
    }
    let mean_w = means_wc.column_mean();
    for mut column in means_wc.column_iter_mut() {
        column -= &mean_w;
    }
    means_wc
}

/// The leading directions of a span, as many as asked for.
fn ranked(basis_wk: Matrix, spec: &FitSpec, readings: &Readings) -> Result<Matrix, DirectionError> {
    let most = basis_wk.ncols();
    match spec.rank.unwrap_or(most) {
        0 => Err(DirectionError::NothingToErase { items: readings.x_nw.nrows() }),
        rank if rank > most => Err(of_classes(spec, readings, most)),
        rank => Ok(basis_wk.columns(0, rank).into_owned()),
    }
}

fn of_classes(spec: &FitSpec, readings: &Readings, most: usize) -> DirectionError {
    DirectionError::RankOfClasses {
        rank: spec.rank.unwrap_or(most),
        method: spec.method.to_string(),
        classes: readings.classes.count(),
        most,
    }
}
