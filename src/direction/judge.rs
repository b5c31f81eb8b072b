//! What a subspace does on interchanges that it was not fitted on, beside its controls.
//!
//! With y the log-odds of answer a over b, y₀ the receiver's, y* the wanted one and y_S the one after the interchange in
//! S, the *share* of S is Σ sign(y* − y₀)(y_S − y₀) / Σ |y* − y₀|, over minimal interchanges: 1 where S carries the
//! variable's whole effect, 0 where none of it. *Interchange accuracy* is the share of minimal and crossed
//! interchanges after which the likeliest answer is the wanted one. Intervals resample clusters.

use serde::{Deserialize, Serialize};

use super::das::within;
use super::dormant::ReadSpace;
use super::error::DirectionError;
use super::exchange::{Exchange, ExchangeKind};
use super::matrix::{Matrix, random_basis, to_tensor};
use super::reading::named;
use super::stage::{Stage, answer_rows, plain_answers};
use crate::base::Progress;
use crate::stats::{Bootstrap, Estimate, Item, Statistic, estimate};

/// By how much of the effect a subspace may beat the whole activation before that counts as a dormant path. A subspace
/// that carries everything beats it by rounding, without any spread between pairs, and one that was trained on other
/// pairs by some hundredths.
pub const OVERSHOOT: f64 = 0.05;

/// How a subspace is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgeSpec {
    /// Random subspaces of equal rank.
    pub random_draws: usize,
    /// Intervals, and the root of the random subspaces.
    pub bootstrap: Bootstrap,
}

/// A subspace against the wanted answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Minimal, crossed and held interchanges.
    pub interchanges: [usize; 3],
    /// Interchange accuracy of the subspace.
    pub accuracy: Estimate,
    /// The same with nothing interchanged.
    pub accuracy_of_nothing: Estimate,
    /// The same with the whole activation interchanged.
    pub accuracy_of_all: Estimate,
    /// The same over those interchanges whose wanted answer is not the receiver's own.
    pub accuracy_of_turning: Estimate,
    /// Share of the subspace.
    pub share: Estimate,
    /// Share of the whole activation at the place.
    pub share_of_all: Estimate,
    /// Leakage: share of everything outside the subspace.
    pub share_outside: Estimate,
    /// Of interchanges that another variable sets apart, the share of that one's effect that the subspace moves.
    pub share_of_others: Estimate,
    /// The control.
    pub random: RandomSubspaces,
    /// The checks against dormant paths.
    pub dormant: Dormant,
}

/// Random subspaces of equal rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RandomSubspaces {
    /// How many.
    pub draws: usize,
    /// Their dimensions.
    pub rank: usize,
    /// The mean of their shares.
    pub mean_share: f64,
    /// The largest of their shares.
    pub largest_share: f64,
    /// The mean of their interchange accuracies.
    pub mean_accuracy: f64,
    /// (1 + number of draws whose share is at least the subspace's) / (1 + draws).
    pub p_value: f64,
}

/// The marks of a dormant path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dormant {
    /// Directions that are read at the place, of its width; absent where its readers are not known.
    pub read_dimensions: Option<usize>,
    /// Share of the basis that lies in the null space of what reads the place.
    pub unread_part: Option<f64>,
    /// Share of the subspace's effect that is gone without its part in the null space; undefined where the subspace has
    /// no effect, or the place's readers are not known.
    pub unread_effect: Estimate,
    /// Share of the subspace less the share of the whole activation, paired: above 0 the subspace beats it, above
    /// [`OVERSHOOT`] too far to be taken for its own.
    pub beyond_all: Estimate,
}

/// The minimal interchanges' place among all.
fn of_kind(stage: &Stage<'_>, kinds: &[ExchangeKind]) -> Vec<usize> {
    let numbered = stage.exchanges.iter().enumerate();
    numbered.filter(|(_, exchange)| kinds.contains(&exchange.kind)).map(|(number, _)| number).collect()
}

/// Judges a basis `[w, k]` on a stage of interchanges that it was not fitted on.
pub fn judge(
    stage: &Stage<'_>,
    basis_wk: &Matrix,
    spec: &JudgeSpec,
    progress: &dyn Progress,
) -> Result<Judged, DirectionError> {
    progress.start("held-out checks", spec.random_draws as u64 + 4);
    let device = stage.model.device();
    let interchange = |basis: &Matrix| -> Result<Vec<Vec<f64>>, DirectionError> {
        if basis.ncols() == 0 {
            return Ok(stage.base().to_vec());
        }
        let basis = to_tensor(basis, device)?;
        let found = stage.answers(&|own, donor| within(own, donor, &basis), progress);
        progress.advance(1);
        found
    };
    let basis = to_tensor(basis_wk, device)?;
    let inside = interchange(basis_wk)?;
    let outside = stage.answers(&|own, donor| within(donor, own, &basis), progress)?;
    let all = stage.answers(&|_, donor| Ok(donor.clone()), progress)?;
    let read = ReadSpace::of(stage.model, &stage.place)?;
    let through_read = read.as_ref().map(|read| interchange(&read.read_part(basis_wk))).transpose()?;
    let mut random = Vec::new();
    for draw in 0..spec.random_draws {
        let seed = spec.bootstrap.seed.fork(&format!("random subspace {draw}"));
        random.push(interchange(&random_basis(basis_wk.nrows(), basis_wk.ncols(), &seed))?);
    }
    progress.finish();
    let measure = Measure { stage, spec };
    let kinds = [ExchangeKind::Minimal, ExchangeKind::Crossed, ExchangeKind::Held];
    Ok(Judged {
        interchanges: kinds.map(|kind| of_kind(stage, &[kind]).len()),
        accuracy: measure.accuracy("accuracy", &inside),
        accuracy_of_nothing: measure.accuracy("nothing", stage.base()),
        accuracy_of_all: measure.accuracy("all", &all),
        accuracy_of_turning: measure.turning(&inside),
        share: measure.share("share", &inside),
        share_of_all: measure.share("share of all", &all),
        share_outside: measure.share("outside", &outside),
        share_of_others: measure.others(&inside)?,
        random: measure.random(basis_wk.ncols(), &inside, &random),
        dormant: Dormant {
            read_dimensions: read.as_ref().map(ReadSpace::dimensions),
            unread_part: read.as_ref().map(|read| read.unread(basis_wk)),
            unread_effect: measure.unread_effect(&inside, through_read.as_deref()),
            beyond_all: measure.beyond(&inside, &all),
        },
    })
}

/// Interchange accuracy and share of a basis alone: what a fit says of its own material.
pub fn accuracy_and_share(
    stage: &Stage<'_>,
    basis_wk: &Matrix,
    spec: &JudgeSpec,
    progress: &dyn Progress,
) -> Result<[Estimate; 2], DirectionError> {
    let basis = to_tensor(basis_wk, stage.model.device())?;
    let inside = stage.answers(&|own, donor| within(own, donor, &basis), progress)?;
    let measure = Measure { stage, spec };
    Ok([measure.accuracy("accuracy", &inside), measure.share("share", &inside)])
}

struct Measure<'a> {
    stage: &'a Stage<'a>,
    spec: &'a JudgeSpec,
}

impl Measure<'_> {
    fn estimate(&self, name: &str, items: &[Item], statistic: &Statistic) -> Estimate {
        estimate(items, statistic, &named(&self.spec.bootstrap, name))
    }

    fn item(exchange: &Exchange, value: f64, weight: Option<f64>) -> Item {
        let (id, cluster) = (exchange.pair.id.clone(), exchange.pair.cluster.clone());
        Item { id, cluster, value, group: None, weight }
    }

    /// (exchange, its own y, the wanted y, the y of each run) over interchanges of some kinds.
    fn outcomes<'b>(
        &'b self,
        kinds: &[ExchangeKind],
        runs: [&'b [Vec<f64>]; 2],
    ) -> impl Iterator<Item = (&'b Exchange, f64, f64, [f64; 2])> {
        of_kind(self.stage, kinds).into_iter().filter_map(move |at| {
            let exchange = *self.stage.exchanges.get(at)?;
            let y = |runs: &[Vec<f64>]| contrast(exchange, runs.get(at)?);
            let [first, second] = runs;
            Some((exchange, y(self.stage.base())?, y(self.stage.wanted())?, [y(first)?, y(second)?]))
        })
    }

    fn hits(&self, run: &[Vec<f64>], only_turning: bool) -> Vec<Item> {
        let kinds = [ExchangeKind::Minimal, ExchangeKind::Crossed];
        let hit = |at: usize| {
            let wanted = likeliest(self.stage.wanted().get(at)?)?;
            if only_turning && likeliest(self.stage.base().get(at)?)? == wanted {
                return None;
            }
            let value = f64::from(u8::from(likeliest(run.get(at)?)? == wanted));
            Some(Self::item(self.stage.exchanges.get(at)?, value, None))
        };
        of_kind(self.stage, &kinds).into_iter().filter_map(hit).collect()
    }

    fn accuracy(&self, name: &str, run: &[Vec<f64>]) -> Estimate {
        self.estimate(name, &self.hits(run, false), &Statistic::Share)
    }

    fn turning(&self, run: &[Vec<f64>]) -> Estimate {
        let items = self.hits(run, true);
        match items.is_empty() {
            true => Estimate::undefined("no wanted answer differs from the receiver's own", 0, 0),
            false => self.estimate("turning", &items, &Statistic::Share),
        }
    }

    fn share_items(&self, run: &[Vec<f64>]) -> Vec<Item> {
        let outcomes = self.outcomes(&[ExchangeKind::Minimal], [run, run]);
        let share = |(exchange, own, wanted, [y, _]): (&Exchange, f64, f64, [f64; 2])| {
            let moved = wanted - own;
            Self::item(exchange, moved.signum() * (y - own), Some(moved.abs()))
        };
        outcomes.map(share).collect()
    }

    fn share(&self, name: &str, run: &[Vec<f64>]) -> Estimate {
        self.estimate(name, &self.share_items(run), &Statistic::Ratio)
    }

    fn share_value(&self, run: &[Vec<f64>]) -> f64 {
        let items = self.share_items(run);
        let whole: f64 = items.iter().filter_map(|item| item.weight).sum();
        items.iter().map(|item| item.value).sum::<f64>() / whole.max(f64::MIN_POSITIVE)
    }

    fn beyond(&self, inside: &[Vec<f64>], all: &[Vec<f64>]) -> Estimate {
        let outcomes = self.outcomes(&[ExchangeKind::Minimal], [inside, all]);
        let items: Vec<Item> = outcomes
            .map(|(exchange, own, wanted, [y, of_all])| {
                let moved = wanted - own;
                Self::item(exchange, moved.signum() * (y - of_all), Some(moved.abs()))
            })
            .collect();
        self.estimate("beyond all", &items, &Statistic::Ratio)
    }

    fn unread_effect(&self, inside: &[Vec<f64>], through_read: Option<&[Vec<f64>]>) -> Estimate {
        let Some(through_read) = through_read else {
            return Estimate::undefined("what reads this site is not known from the weights", 0, 0);
        };
        if !self.share("share", inside).excludes_zero() {
            let n = of_kind(self.stage, &[ExchangeKind::Minimal]).len();
            return Estimate::undefined("the subspace's own share may be 0", n, 0);
        }
        let outcomes = self.outcomes(&[ExchangeKind::Minimal], [inside, through_read]);
        let items: Vec<Item> = outcomes
            .map(|(exchange, own, wanted, [y, read])| {
                let sign = (wanted - own).signum();
                Self::item(exchange, sign * (y - read), Some(sign * (y - own)))
            })
            .collect();
        self.estimate("unread effect", &items, &Statistic::Ratio)
    }

    fn others(&self, inside: &[Vec<f64>]) -> Result<Estimate, DirectionError> {
        let at = of_kind(self.stage, &[ExchangeKind::Held]);
        let donors: Vec<_> = at.iter().filter_map(|&at| self.stage.exchanges.get(at)).collect();
        if donors.is_empty() {
            return Ok(Estimate::undefined("no pairs move another variable", 0, 0));
        }
        let rows: Vec<_> = donors.iter().map(|exchange| answer_rows(&exchange.pair.counterfactual)).collect();
        let donor_answers = plain_answers(self.stage.model, &rows)?;
        let outcomes = self.outcomes(&[ExchangeKind::Held], [inside, inside]);
        let items: Vec<Item> = outcomes
            .zip(&donor_answers)
            .filter_map(|((exchange, own, _, [y, _]), donor)| {
                let moved = contrast(exchange, donor)? - own;
                Some(Self::item(exchange, moved.signum() * (y - own), Some(moved.abs())))
            })
            .collect();
        Ok(self.estimate("others", &items, &Statistic::Ratio))
    }

    fn random(&self, rank: usize, inside: &[Vec<f64>], random: &[Vec<Vec<f64>>]) -> RandomSubspaces {
        let own = self.share_value(inside);
        let shares: Vec<f64> = random.iter().map(|run| self.share_value(run)).collect();
        let hits = |run: &Vec<Vec<f64>>| {
            let items = self.hits(run, false);
            items.iter().map(|item| item.value).sum::<f64>() / items.len().max(1) as f64
        };
        let draws = random.len();
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / draws.max(1) as f64;
        RandomSubspaces {
            draws,
            rank,
            mean_share: mean(&mut shares.iter().copied()),
            largest_share: shares.iter().copied().reduce(f64::max).unwrap_or(0.0),
            mean_accuracy: mean(&mut random.iter().map(hits)),
            p_value: (1 + shares.iter().filter(|share| **share >= own).count()) as f64 / (1 + draws) as f64,
        }
    }
}

/// The log-odds of the pair's answer a over b among log-likelihoods.
fn contrast(exchange: &Exchange, scores: &[f64]) -> Option<f64> {
    let [a, b] = exchange.pair.contrast;
    Some(scores.get(a)? - scores.get(b)?)
}

fn likeliest(scores: &[f64]) -> Option<usize> {
    scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
}

impl Judged {
    /// Why the subspace is not to be taken for the variable's, one line a reason; none where all checks pass:
    ///
    /// * the interval of its share covers 0;
    /// * random subspaces of equal rank do as well (p > 0.05);
    /// * it beats the whole activation by more than a trained basis overshoots (the interval of `beyond_all` lies above
    ///   [`OVERSHOOT`]);
    /// * more than half of its effect is gone without its part in the null space (the interval of `unread_effect` lies
    ///   above ½).
    pub fn objections(&self) -> Vec<String> {
        let mut found = Vec::new();
        let above = |estimate: &Estimate, limit: f64| estimate.interval.is_some_and(|interval| interval.low > limit);
        if !above(&self.share, 0.0) {
            found.push("its share of the effect may be 0".to_owned());
        }
        if self.random.draws > 0 && self.random.p_value > 0.05 {
            let RandomSubspaces { rank, p_value, .. } = &self.random;
            found.push(format!("random subspaces of rank {rank} do as well (p = {p_value:.3})"));
        }
        if above(&self.dormant.beyond_all, OVERSHOOT) {
            found.push("it moves more than the whole activation does: a dormant path".to_owned());
        }
        if above(&self.dormant.unread_effect, 0.5) {
            found.push("most of its effect needs a part that nothing reads: a dormant path".to_owned());
        }
        found
    }
}
