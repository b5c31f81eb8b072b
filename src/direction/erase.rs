//! A model without a variable at a site: the eraser as an intervention, what is left of the effect, and the same map in
//! the weights where they can hold it.
//!
//! With TE = y(x′) − y(x) the total effect of a pair (y the log-odds of answer a over b) and TE_e the same while both
//! runs pass the eraser at the site, what *remains* is Σ sign(TE) TE_e / Σ |TE|: 1 where erasing does nothing, 0 where
//! the effect is gone, below 0 where it is turned. On pairs of other variables it says what erasing costs them. At a site
//! without positions the eraser is applied to every token, those of the answers included; else at the named position.

use std::collections::BTreeSet;

use candle_core::{D, DType, Result as TensorResult, Tensor};
use serde::{Deserialize, Serialize};

use super::eraser::Eraser;
use super::error::DirectionError;
use super::fit::{Direction, placed};
use super::material::Material;
use super::matrix::{Matrix, to_tensor};
use super::place::Place;
use super::reading::named;
use super::stage::{answer_rows, hooked_answers, plain_answers};
use crate::base::Progress;
use crate::intervene::{Positions, Side, TokenPair};
use crate::model::{AnswerRows, HookPoint, Hooks, LanguageModel};
use crate::stats::{Bootstrap, Check, Estimate, Item, Statistic, estimate, paired_difference};

/// How far the log-odds of a folded model may lie from those under the intervention.
const FOLD_TOLERANCE: f64 = 1e-3;

/// The effects of pairs before and after erasing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErasedEffect {
    /// Mean |TE| as the model is, in nats of log-odds.
    pub before: Estimate,
    /// Mean |TE| with the eraser.
    pub after: Estimate,
    /// `after` − `before`, paired.
    pub difference: Estimate,
    /// Σ sign(TE) TE_e / Σ |TE|.
    pub remaining: Estimate,
}

/// What an eraser does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Erasure {
    /// On pairs of the variable.
    pub variable: ErasedEffect,
    /// On pairs of other variables; absent where there are none.
    pub others: Option<ErasedEffect>,
}

/// Measures an eraser on pairs.
pub fn erase(
    model: &LanguageModel,
    direction: &Direction,
    material: &Material,
    bootstrap: &Bootstrap,
    progress: &dyn Progress,
) -> Result<Erasure, DirectionError> {
    let place = placed(model, direction)?;
    material.at_least(super::fit::LEAST_HELD_OUT, "pairs to erase on")?;
    progress.start("erasing", 2);
    let effect = |pairs: &[TokenPair], name: &str| -> Result<ErasedEffect, DirectionError> {
        let before = contrasts(model, pairs, None)?;
        let after = contrasts(model, pairs, Some((&place, &direction.eraser)))?;
        progress.advance(1);
        compare(pairs, &before, &after, &named(bootstrap, name))
    };
    let variable = effect(&material.pairs, "variable")?;
    let others = match material.others.is_empty() {
        true => None,
        false => Some(effect(&material.others, "others")?),
    };
    progress.finish();
    Ok(Erasure { variable, others })
}

fn compare(
    pairs: &[TokenPair],
    before: &[[f64; 2]],
    after: &[[f64; 2]],
    bootstrap: &Bootstrap,
) -> Result<ErasedEffect, DirectionError> {
    let total = |[factual, counterfactual]: &[f64; 2]| counterfactual - factual;
    let items = |runs: &[[f64; 2]]| -> Vec<Item> {
        let item = |(pair, run): (&TokenPair, &[f64; 2])| item(pair, total(run), None);
        pairs.iter().zip(runs).map(item).collect()
    };
    let (first, second) = (items(before), items(after));
    let remaining: Vec<Item> = (pairs.iter().zip(before.iter().zip(after)))
        .map(|(pair, (was, is))| item(pair, total(was).signum() * total(is), Some(total(was).abs())))
        .collect();
    let difference = match paired_difference(&second, &first, &Statistic::MeanAbsolute, &named(bootstrap, "difference"))
    {
        Ok(paired) => paired.difference,
        Err(error) => Estimate::undefined(error.to_string(), pairs.len(), 0),
    };
    Ok(ErasedEffect {
        before: estimate(&first, &Statistic::MeanAbsolute, &named(bootstrap, "before")),
        after: estimate(&second, &Statistic::MeanAbsolute, &named(bootstrap, "after")),
        difference,
        remaining: estimate(&remaining, &Statistic::Ratio, &named(bootstrap, "remaining")),
    })
}

fn item(pair: &TokenPair, value: f64, weight: Option<f64>) -> Item {
    Item { id: pair.id.clone(), cluster: pair.cluster.clone(), value, group: None, weight }
}

/// The log-odds of both sides of each pair, with an eraser or as they are.
fn contrasts(
    model: &LanguageModel,
    pairs: &[TokenPair],
    erased: Option<(&Place, &Eraser)>,
) -> Result<Vec<[f64; 2]>, DirectionError> {
    let mut sides = Vec::new();
    for side in [Side::Factual, Side::Counterfactual] {
        let rows: Vec<AnswerRows> = pairs.iter().map(|pair| answer_rows(pair.side(side))).collect();
        let answers = match erased {
            None => plain_answers(model, &rows)?,
            Some((place, eraser)) => erased_answers(model, (place, eraser), pairs, side, &rows)?,
        };
        let contrast = |(pair, scores): (&TokenPair, &Vec<f64>)| {
            let [a, b] = pair.contrast.map(|answer| scores.get(answer).copied().unwrap_or(f64::NAN));
            a - b
        };
        sides.push(pairs.iter().zip(&answers).map(contrast).collect::<Vec<f64>>());
    }
    let second = sides.pop().unwrap_or_default();
    Ok(sides.pop().unwrap_or_default().into_iter().zip(second).map(|(a, b)| [a, b]).collect())
}

fn erased_answers(
    model: &LanguageModel,
    (place, eraser): (&Place, &Eraser),
    pairs: &[TokenPair],
    side: Side,
    rows: &[AnswerRows],
) -> Result<Vec<Vec<f64>>, DirectionError> {
    let mut hooks = EraseHooks::new(model, place, eraser)?;
    if place.site().positions == Positions::All {
        return hooked_answers(model, rows, &mut hooks);
    }
    let mut found = Vec::with_capacity(pairs.len());
    // One prompt a pass, since each has positions of its own.
    for (pair, rows) in pairs.iter().zip(rows) {
        let at = pair.resolve(&place.site().positions, side)?;
        hooks.positions = Some(at.into_iter().map(|(own, _)| own).collect());
        found.extend(hooked_answers(model, std::slice::from_ref(rows), &mut hooks)?);
    }
    Ok(found)
}

/// Erases vectors at a place in every row of a pass: at some positions, or at all.
struct EraseHooks<'a> {
    place: &'a Place,
    positions: Option<BTreeSet<usize>>,
    mean_w: Tensor,
    left_kw: Tensor,
    right_wk: Tensor,
}

impl<'a> EraseHooks<'a> {
    fn new(model: &LanguageModel, place: &'a Place, eraser: &Eraser) -> Result<Self, DirectionError> {
        let [mean_w, left_wk, right_kw] = eraser.tensors(model.device())?;
        let (left_kw, right_wk) = (left_wk.t()?.contiguous()?, right_kw.t()?.contiguous()?);
        Ok(Self { place, positions: None, mean_w, left_kw, right_wk })
    }

    fn erase(&self, x_uw: &Tensor) -> TensorResult<Tensor> {
        x_uw - x_uw.broadcast_sub(&self.mean_w)?.matmul(&self.right_wk)?.matmul(&self.left_kw)?
    }
}

impl Hooks for EraseHooks<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.place.point()
    }

    fn at(&mut self, _: HookPoint, activation: Tensor) -> TensorResult<Tensor> {
        let (batch, tokens, width) = (activation.dim(0)?, activation.dim(1)?, activation.dim(D::Minus1)?);
        let units = activation.elem_count() / width.max(1);
        let mut order: Vec<u32> = (0..units as u32).collect();
        let mut at = Vec::new();
        for row in 0..batch {
            for position in (0..tokens).filter(|at| self.positions.as_ref().is_none_or(|known| known.contains(at))) {
                let unit = self.place.unit(row, tokens, position);
                if let Some(slot) = order.get_mut(unit as usize) {
                    *slot = (units + at.len()) as u32;
                    at.push(unit);
                }
            }
        }
        let own = self.place.vectors(&activation, at)?;
        let erased = self.erase(&own.to_dtype(DType::F32)?)?.to_dtype(activation.dtype())?;
        let order = Tensor::from_vec(order, units, activation.device())?;
        let all = Tensor::cat(&[&activation.reshape((units, width))?, &erased], 0)?;
        all.index_select(&order, 0)?.reshape(activation.shape())
    }
}

/// A model whose weights hold an eraser, and how far it is from the intervention.
pub struct Folded {
    /// The model.
    pub model: LanguageModel,
    /// The largest difference of log-odds on the pairs that were tried.
    pub check: Check,
}

/// Folds a direction's eraser into the output projection at its site, and holds the result against the intervention
/// on both sides of `pairs`. Refused where the map cannot be exact: a site of single positions, a site that no
/// projection writes alone, a constant without a bias to hold it, or a difference above 10⁻³ nats.
pub fn fold(model: &LanguageModel, direction: &Direction, pairs: &[TokenPair]) -> Result<Folded, DirectionError> {
    let place = placed(model, direction)?;
    let refuse = |reason: String| DirectionError::CannotFold { site: direction.site.to_string(), reason };
    if place.site().positions != Positions::All {
        return Err(refuse("weights do the same at every position, and this site names one".into()));
    }
    let projection = direction.eraser.projection();
    let constant = Matrix::from_column_slice(place.width(), 1, (&projection * direction.eraser.mean()).as_slice());
    let map = Matrix::identity(place.width(), place.width()) - projection;
    let device = model.device();
    let folded = model
        .fold_output(place.point(), &to_tensor(&map, device)?, &to_tensor(&constant, device)?.squeeze(1)?)
        .map_err(|error| refuse(error.to_string()))?;
    let asked = contrasts(model, pairs, Some((&place, &direction.eraser)))?;
    let found = contrasts(&folded, pairs, None)?;
    let differences = asked.iter().zip(&found).flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()));
    let worst = differences.fold(0.0, f64::max);
    let check = Check {
        name: "the folded model answers as the intervention does".into(),
        passed: worst <= FOLD_TOLERANCE,
        worst: Some(worst),
        tolerance: Some(FOLD_TOLERANCE),
        detail: format!("log-odds of both sides of {} pairs", pairs.len()),
    };
    match check.passed {
        true => Ok(Folded { model: folded, check }),
        false => Err(refuse(format!("the folded model's log-odds are off by {worst:.1e}"))),
    }
}
