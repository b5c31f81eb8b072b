//! The forward passes that terms share, and the arithmetic on their outcomes.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, Tensor};

use super::data::{PairExample, TaskExample};
use super::error::TuneError;
use super::spec::AnchorAt;
use crate::intervene::Side;
use crate::model::{AnswerRows, HookPoint, Hooks, LanguageModel, NoHooks, Readout, Record, Row, target_logprobs};
use crate::ops;

/// Token ids of rows of unequal length, padded on the right with token 0: `[b, t]`.
fn padded(rows: &[Row], model: &LanguageModel) -> Result<Tensor, TuneError> {
    let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(rows.len() * longest);
    for row in rows {
        ids.extend_from_slice(&row.ids);
        ids.resize(ids.len() + longest - row.ids.len(), 0);
    }
    Ok(Tensor::from_vec(ids, (rows.len(), longest), model.device())?)
}

/// ln softmax over the last dimension, differentiable.
pub(super) fn log_softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// The positions of a task prompt at which the KL anchor compares distributions.
pub fn anchored(example: &TaskExample, at: AnchorAt) -> std::ops::Range<usize> {
    let last = example.prompt.ids.len().saturating_sub(1);
    match at {
        AnchorAt::Answer => last..last + 1,
        AnchorAt::Prompt => 0..last,
        AnchorAt::Everywhere => 0..last + 1,
    }
}

/// One pass over task rows, read at the answers' tokens and at the anchored positions.
pub struct TaskPass {
    ids_bt: Tensor,
    logits_nv: Tensor,
    gold: Vec<(usize, u32)>,
    anchored: Vec<(usize, usize)>,
    anchored_reads: Vec<u32>,
}

impl TaskPass {
    /// Runs the examples' prompts with their true answers.
    pub fn run(
        model: &LanguageModel,
        examples: &[&TaskExample],
        anchor_at: Option<AnchorAt>,
    ) -> Result<Self, TuneError> {
        let rows: Vec<Row> = examples.iter().map(|example| example.row()).collect();
        let (mut reads, mut gold, mut anchor) = (Vec::new(), Vec::new(), Vec::new());
        let mut anchored_reads = Vec::new();
        for (number, (example, row)) in examples.iter().zip(&rows).enumerate() {
            let held = anchor_at.map(|at| anchored(example, at)).unwrap_or_default();
            let positions: BTreeSet<usize> =
                row.targets.iter().map(|(position, _)| *position).chain(held.clone()).collect();
            for position in positions {
                let read = reads.len();
                gold.extend(row.targets.iter().filter(|target| target.0 == position).map(|(_, token)| (read, *token)));
                if held.contains(&position) {
                    anchored_reads.push(read as u32);
                    anchor.push((number, position));
                }
                reads.push((number, position));
            }
        }
        let ids_bt = padded(&rows, model)?;
        let logits_nv = model.forward(&ids_bt, Readout::Rows(&reads), &mut NoHooks)?;
        Ok(Self { ids_bt, logits_nv, gold, anchored: anchor, anchored_reads })
    }

    /// ln p of each token of each true answer.
    pub fn gold_logprobs_n(&self) -> Result<Tensor, TuneError> {
        Ok(ops::logprobs_at(&self.logits_nv, &self.gold)?)
    }

    /// ln p over the vocabulary at the anchored positions.
    pub fn anchored_logprobs_nv(&self) -> Result<Tensor, TuneError> {
        let all = self.anchored_reads.len() == self.logits_nv.dim(0)?;
        let picked = match all {
            true => self.logits_nv.clone(),
            false => {
                let reads = Tensor::new(self.anchored_reads.as_slice(), self.logits_nv.device())?;
                self.logits_nv.index_select(&reads, 0)?
            }
        };
        Ok(log_softmax(&picked)?)
    }

    /// The same from another model.
    pub fn base_logprobs_nv(&self, base: &LanguageModel) -> Result<Tensor, TuneError> {
        let logits_nv = base.forward(&self.ids_bt, Readout::Rows(&self.anchored), &mut NoHooks)?;
        Ok(log_softmax(&logits_nv)?)
    }
}

/// The log-likelihoods of pairs with the same number of answers.
pub struct ScoreGroup {
    /// Which pairs of the batch, by index.
    pub members: Vec<usize>,
    /// ln p(answer | factual prompt), `[pairs, answers]`.
    pub factual_pa: Tensor,
    /// ln p(answer | counterfactual prompt), `[pairs, answers]`.
    pub counterfactual_pa: Tensor,
}

/// One pass over both sides of pairs, in one batch: the factual rows of all pairs, then the counterfactual rows.
pub struct PairPass {
    /// The answers' log-likelihoods.
    pub groups: Vec<ScoreGroup>,
    /// The activations that were asked for, over all rows.
    pub recorded: BTreeMap<HookPoint, Tensor>,
    /// The rows, for passes that repeat them under interventions.
    pub rows: PairRows,
}

impl PairPass {
    /// Runs the pairs and keeps the activations at `records`.
    pub fn run(
        model: &LanguageModel,
        pairs: &[&PairExample],
        records: &BTreeSet<HookPoint>,
    ) -> Result<Self, TuneError> {
        let rows = PairRows::new(pairs);
        let mut record = Record::new(records.iter().copied());
        let groups = rows.scores(model, &mut record)?;
        Ok(Self { groups, recorded: record.take(), rows })
    }
}

/// The token rows behind pairs: one row a side where every answer is one token, else one row an answer. Both sides of a
/// pair have equally many, because its answers have as many tokens on one side as on the other.
pub struct PairRows {
    /// All rows.
    pub rows: Vec<Row>,
    /// For each row: the pair's index, and the side.
    pub owners: Vec<(usize, Side)>,
    answers: Vec<usize>,
    segments: Vec<usize>,
}

impl PairRows {
    fn new(pairs: &[&PairExample]) -> Self {
        let mut made = Self { rows: Vec::new(), owners: Vec::new(), answers: Vec::new(), segments: Vec::new() };
        for side in [Side::Factual, Side::Counterfactual] {
            for (number, example) in pairs.iter().enumerate() {
                let prompt = example.pair.side(side);
                for row in AnswerRows::new(&prompt.ids, &prompt.answers).rows {
                    made.rows.push(row);
                    made.owners.push((number, side));
                }
                made.segments.extend(prompt.answers.iter().map(Vec::len));
            }
        }
        made.answers = pairs.iter().map(|example| example.pair.factual.answers.len()).collect();
        made
    }

    /// The row of the other side that stands for the same answers.
    pub fn partner(&self, row: usize) -> usize {
        let half = self.rows.len() / 2;
        if row < half { row + half } else { row - half }
    }

    /// Runs the rows under hooks.
    pub fn scores(&self, model: &LanguageModel, hooks: &mut dyn Hooks) -> Result<Vec<ScoreGroup>, TuneError> {
        let tokens_n = target_logprobs(model, &self.rows, hooks)?;
        let answers_n = sum_segments(&tokens_n, &self.segments)?;
        let half = self.segments.len() / 2;
        let (factual_n, counterfactual_n) = (answers_n.narrow(0, 0, half)?, answers_n.narrow(0, half, half)?);
        let kinds: BTreeSet<usize> = self.answers.iter().copied().collect();
        kinds.into_iter().map(|count| self.group(count, &factual_n, &counterfactual_n)).collect()
    }

    fn group(&self, count: usize, factual_n: &Tensor, counterfactual_n: &Tensor) -> Result<ScoreGroup, TuneError> {
        let (mut members, mut picks, mut at) = (Vec::new(), Vec::new(), 0);
        for (number, answers) in self.answers.iter().enumerate() {
            if *answers == count {
                members.push(number);
                picks.extend((at..at + count).map(|index| index as u32));
            }
            at += answers;
        }
        let shape = (members.len(), count);
        let pick = |all: &Tensor| match picks.len() == at {
            true => all.reshape(shape),
            false => all.index_select(&Tensor::new(picks.as_slice(), all.device())?, 0)?.reshape(shape),
        };
        Ok(ScoreGroup { factual_pa: pick(factual_n)?, counterfactual_pa: pick(counterfactual_n)?, members })
    }
}

/// Sums consecutive stretches of a vector.
fn sum_segments(values_n: &Tensor, lengths: &[usize]) -> candle_core::Result<Tensor> {
    if lengths.iter().all(|length| *length == 1) {
        return Ok(values_n.clone());
    }
    let owners: Vec<u32> =
        lengths.iter().enumerate().flat_map(|(owner, length)| std::iter::repeat_n(owner as u32, *length)).collect();
    let owners = Tensor::from_vec(owners, values_n.dim(0)?, values_n.device())?;
    Tensor::zeros(lengths.len(), values_n.dtype(), values_n.device())?.index_add(&owners, values_n, 0)
}

/// Adds a scalar of each group.
pub fn sum_groups(
    groups: &[ScoreGroup],
    mut of: impl FnMut(&ScoreGroup) -> Result<Tensor, TuneError>,
) -> Result<Tensor, TuneError> {
    let mut total: Option<Tensor> = None;
    for group in groups {
        let value = of(group)?;
        total = Some(match total {
            Some(sum) => sum.add(&value)?,
            None => value,
        });
    }
    total.ok_or_else(|| TuneError::state("batch", "holds no pairs".into()))
}

/// The squared change of log-odds between two rows of log-likelihoods, `[pairs, answers]` → `[pairs]`: for two answers
/// ((a₁ − a₂) − (b₁ − b₂))²; for more, its mean over all pairs of answers. With d the differences a − b less their mean
/// it is 2 Σ d² / (answers − 1), which no common shift of a row changes.
pub fn squared_change(a_pa: &Tensor, b_pa: &Tensor) -> candle_core::Result<Tensor> {
    let answers = a_pa.dim(D::Minus1)? as f64;
    let moved = a_pa.sub(b_pa)?;
    let centred = moved.broadcast_sub(&moved.mean_keepdim(D::Minus1)?)?;
    centred.sqr()?.sum(D::Minus1)? * (2.0 / (answers - 1.0).max(1.0))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn squared_change_is_the_mean_over_pairs_of_answers() {
        let (a, b) = ([0.5f64, -2.0, 1.0], [1.5f64, 0.25, -1.0]);
        let row = |values: [f64; 3]| Tensor::new(&[values], &Device::Cpu).expect("row");
        let found = squared_change(&row(a), &row(b)).and_then(|s| s.to_vec1::<f64>()).expect("value")[0];
        let mut expected = 0.0;
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            expected += ((a[i] - a[j]) - (b[i] - b[j])).powi(2) / 3.0;
        }
        assert!((found - expected).abs() < 1e-12, "{found} against {expected}");
    }

    #[test]
    fn segments_add_up_and_pass_gradients() {
        let values = Var::new(&[1.0f64, 2.0, 4.0, 8.0], &Device::Cpu).expect("values");
        let sums = sum_segments(&values, &[1, 3]).expect("sums");
        assert_eq!(sums.to_vec1::<f64>().expect("sums"), [1.0, 14.0]);
        let gradient = sums.sqr().and_then(|s| s.sum_all()).and_then(|s| s.backward()).expect("backward");
        assert_eq!(gradient.get(&values).expect("gradient").to_vec1::<f64>().expect("values"), [2.0, 28.0, 28.0, 28.0]);
    }
}
