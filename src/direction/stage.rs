//! Interchanges on one model at one place, made ready: what does not depend on the subspace is run once.
//!
//! The receivers' and donors' activations at the place, the receivers' streams before the place's block, and the answers
//! with nothing done and as wanted are kept. A changed run is then a function of the vectors `[u, w]` that it puts at
//! the place, one vector a patched position, and differentiable in them; it begins at the place's block. Only positions
//! of the prompt are changed. Cost: three passes once, then the blocks from the place on for every changed run; memory
//! rows · tokens · width for the streams.

use candle_core::{DType, Tensor};

use super::error::DirectionError;
use super::exchange::Exchange;
use super::place::Place;
use crate::base::Progress;
use crate::intervene::{PatchHooks, Replacement, Side};
use crate::model::{AnswerRows, HookKind, HookPoint, LanguageModel, Readout, Record, Start};
use crate::ops;

/// Tokens of one pass.
const BATCH_TOKENS: usize = 4096;

/// Interchanges at one place of one model.
pub struct Stage<'a> {
    /// The model.
    pub model: &'a LanguageModel,
    /// The place.
    pub place: Place,
    /// The interchanges, those alone that patch at least one position.
    pub exchanges: Vec<&'a Exchange>,
    answers: usize,
    rows: Vec<AnswerRows>,
    first_rows: Vec<usize>,
    /// Patched positions of each receiver.
    positions: Vec<Vec<usize>>,
    first_units: Vec<usize>,
    own_uw: Tensor,
    donor_uw: Tensor,
    stream_btd: Tensor,
    base: Vec<Vec<f64>>,
    wanted: Vec<Vec<f64>>,
}

impl<'a> Stage<'a> {
    /// Runs receivers, donors and wanted prompts. At least one interchange is needed, all with the same number of answers.
    pub fn new(model: &'a LanguageModel, place: &Place, exchanges: &'a [Exchange]) -> Result<Self, DirectionError> {
        let answers = same_answers(exchanges)?;
        let mut kept = Vec::new();
        let (mut positions, mut donors) = (Vec::new(), Vec::new());
        for exchange in exchanges {
            let found = exchange.pair.resolve(&place.site().positions, Side::Factual)?;
            if !found.is_empty() {
                kept.push(exchange);
                positions.push(found.iter().map(|(own, _)| *own).collect::<Vec<usize>>());
                let ids = exchange.pair.counterfactual.ids.as_slice();
                donors.push((ids, found.iter().map(|(_, donor)| *donor).collect::<Vec<usize>>()));
            }
        }
        if kept.is_empty() {
            return Err(DirectionError::TooFew { what: "interchanges".into(), found: 0, needed: 1 });
        }
        let rows: Vec<AnswerRows> = kept.iter().map(|one| answer_rows(&one.pair.factual)).collect();
        let first_rows = starts(rows.iter().map(|rows| rows.rows.len()));
        let first_units = starts(positions.iter().map(Vec::len));
        let wanted_rows: Vec<AnswerRows> = kept.iter().map(|one| answer_rows(&one.wanted)).collect();
        let receivers = Receivers::run(model, place, &rows, &positions)?;
        Ok(Self {
            model,
            place: place.clone(),
            answers,
            donor_uw: read_vectors(model, place, &donors)?,
            own_uw: receivers.own_uw,
            stream_btd: receivers.stream_btd,
            base: receivers.answers,
            wanted: plain_answers(model, &wanted_rows)?,
            exchanges: kept,
            rows,
            first_rows,
            positions,
            first_units,
        })
    }

    /// How many interchanges there are.
    pub fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// Log-likelihoods of each receiver's answers with nothing done.
    pub fn base(&self) -> &[Vec<f64>] {
        &self.base
    }

    /// Log-likelihoods of the answers of each wanted prompt.
    pub fn wanted(&self) -> &[Vec<f64>] {
        &self.wanted
    }

    /// The receivers' and the donors' vectors of some interchanges, `[u, w]` each.
    pub fn vectors(&self, which: &[usize]) -> Result<(Tensor, Tensor), DirectionError> {
        let units: Vec<u32> = which.iter().flat_map(|&one| self.units(one)).map(|unit| unit as u32).collect();
        let units = Tensor::from_slice(&units, units.len(), self.model.device())?;
        Ok((self.own_uw.index_select(&units, 0)?, self.donor_uw.index_select(&units, 0)?))
    }

    fn units(&self, exchange: usize) -> std::ops::Range<usize> {
        let first = self.first_units.get(exchange).copied().unwrap_or(0);
        first..first + self.positions.get(exchange).map_or(0, Vec::len)
    }

    /// The answers' log-likelihoods `[n, answers]` of the `which` receivers with `vectors_uw` in place of their own
    /// vectors, in the order of [`Stage::vectors`]. Differentiable in them.
    pub fn run(&self, which: &[usize], vectors_uw: &Tensor) -> Result<Tensor, DirectionError> {
        let device = self.model.device();
        let tokens = self.stream_btd.dim(1)?;
        let (mut rows, mut at, mut picked) = (Vec::new(), Vec::new(), Vec::new());
        let mut reads = Reads::new(self.answers);
        let mut unit = 0u32;
        for (number, &one) in which.iter().enumerate() {
            let (Some(answer), Some(first), Some(positions)) =
                (self.rows.get(one), self.first_rows.get(one), self.positions.get(one))
            else {
                continue;
            };
            reads.add(number, rows.len(), answer);
            for offset in 0..answer.rows.len() {
                at.extend(positions.iter().map(|position| self.place.unit(rows.len(), tokens, *position)));
                picked.extend((unit..).take(positions.len()));
                rows.push((first + offset) as u32);
            }
            unit += positions.len() as u32;
        }
        let picked = Tensor::from_slice(&picked, picked.len(), device)?;
        let mut hooks = PatchHooks::new();
        hooks.replace(self.place.point(), at, Replacement::Rows(vectors_uw.index_select(&picked, 0)?));
        let stream_btd = self.stream_btd.index_select(&Tensor::from_slice(&rows, rows.len(), device)?, 0)?;
        let start = Start::Residual { layer: self.place.site().layer, resid_btd: &stream_btd };
        let logits = self.model.resume(start, None, Readout::Rows(&reads.positions), &mut hooks)?;
        reads.sums(&logits, which.len())
    }

    /// The same in several passes, as numbers: `change` turns own and donor vectors `[u, w]` into those that are put
    /// there.
    pub fn answers(
        &self,
        change: &dyn Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, DirectionError> {
        let mut found = Vec::with_capacity(self.len());
        for chunk in self.chunks() {
            if progress.cancelled() {
                return Err(DirectionError::Interrupted);
            }
            let (own, donor) = self.vectors(&chunk)?;
            found.extend(rows_of(&self.run(&chunk, &change(&own, &donor)?)?)?);
        }
        Ok(found)
    }

    /// The interchanges in runs that fill a pass.
    pub(super) fn chunks(&self) -> Vec<Vec<usize>> {
        let tokens = self.stream_btd.dims().get(1).copied().unwrap_or(1).max(1);
        let rows_each = self.rows.iter().map(|rows| rows.rows.len()).max().unwrap_or(1).max(1);
        let size = (BATCH_TOKENS / (tokens * rows_each)).max(1);
        let all: Vec<usize> = (0..self.len()).collect();
        all.chunks(size).map(<[usize]>::to_vec).collect()
    }
}

/// What the plain runs of the receivers leave.
struct Receivers {
    own_uw: Tensor,
    stream_btd: Tensor,
    answers: Vec<Vec<f64>>,
}

impl Receivers {
    fn run(
        model: &LanguageModel,
        place: &Place,
        rows: &[AnswerRows],
        positions: &[Vec<usize>],
    ) -> Result<Self, DirectionError> {
        let stream = HookPoint::new(HookKind::ResidPre, place.site().layer);
        let tokens = longest(model, rows)?;
        let (mut own, mut streams, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        let chunk = (BATCH_TOKENS / tokens.max(1)).max(1);
        for (rows, positions) in rows.chunks(chunk).zip(positions.chunks(chunk)) {
            let mut record = Record::new([stream, place.point()]);
            let (logits, reads) = forward(model, rows, tokens, &mut record)?;
            answers.extend(rows_of(&reads.sums(&logits, rows.len())?)?);
            let mut kept = record.take();
            let first = starts(rows.iter().map(|rows| rows.rows.len()));
            let at = first.iter().zip(positions);
            let at = at.flat_map(|(row, own)| own.iter().map(|position| place.unit(*row, tokens, *position))).collect();
            let activation = kept.get(&place.point()).cloned().ok_or_else(|| missing(place.point()))?;
            own.push(place.vectors(&activation, at)?.to_dtype(DType::F32)?.detach());
            streams.push(kept.remove(&stream).ok_or_else(|| missing(stream))?.detach());
        }
        Ok(Self { own_uw: Tensor::cat(&own, 0)?, stream_btd: Tensor::cat(&streams, 0)?, answers })
    }
}

/// Vectors `[u, w]` of prompts at a place: of each prompt, those at its positions.
pub fn read_vectors(
    model: &LanguageModel,
    place: &Place,
    prompts: &[(&[u32], Vec<usize>)],
) -> Result<Tensor, DirectionError> {
    let mut found = Vec::new();
    let mut rest = prompts;
    while let Some((first, _)) = rest.first() {
        let class = model.architecture().length_class(first.len());
        let (mut rows, mut tokens) = (0, 0);
        let fits = |(ids, _): &&(&[u32], Vec<usize>)| {
            rows += 1;
            tokens = tokens.max(ids.len());
            rows * tokens <= BATCH_TOKENS && model.architecture().length_class(ids.len()) == class
        };
        let (chunk, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        let ids_bt = padded(model, &chunk.iter().map(|(ids, _)| *ids).collect::<Vec<_>>(), 0)?;
        let mut record = Record::new([place.point()]);
        model.forward(&ids_bt, Readout::Rows(&[(0, 0)]), &mut record)?;
        let tokens = ids_bt.dim(1)?;
        let places = chunk.iter().enumerate();
        let at = places.flat_map(|(row, (_, at))| at.iter().map(move |position| place.unit(row, tokens, *position)));
        let activation = record.take().remove(&place.point()).ok_or_else(|| missing(place.point()))?;
        found.push(place.vectors(&activation, at.collect())?.to_dtype(DType::F32)?.detach());
        rest = later;
    }
    Ok(Tensor::cat(&found, 0)?)
}

/// The answers' log-likelihoods of prompts with nothing done.
pub(super) fn plain_answers(model: &LanguageModel, prompts: &[AnswerRows]) -> Result<Vec<Vec<f64>>, DirectionError> {
    hooked_answers(model, prompts, &mut crate::model::NoHooks)
}

/// The same with hooks that change every pass alike.
pub(super) fn hooked_answers(
    model: &LanguageModel,
    prompts: &[AnswerRows],
    hooks: &mut dyn crate::model::Hooks,
) -> Result<Vec<Vec<f64>>, DirectionError> {
    let mut found = Vec::with_capacity(prompts.len());
    let tokens = longest(model, prompts)?;
    for chunk in prompts.chunks((BATCH_TOKENS / tokens.max(1)).max(1)) {
        let (logits, reads) = forward(model, chunk, tokens, hooks)?;
        found.extend(rows_of(&reads.sums(&logits, chunk.len())?)?);
    }
    Ok(found)
}

/// One pass over prompts with their answers, all padded to `tokens`.
fn forward(
    model: &LanguageModel,
    prompts: &[AnswerRows],
    tokens: usize,
    hooks: &mut dyn crate::model::Hooks,
) -> Result<(Tensor, Reads), DirectionError> {
    let mut reads = Reads::new(prompts.first().map_or(0, AnswerRows::answers));
    let mut ids: Vec<&[u32]> = Vec::new();
    for (number, prompt) in prompts.iter().enumerate() {
        reads.add(number, ids.len(), prompt);
        ids.extend(prompt.rows.iter().map(|row| row.ids.as_slice()));
    }
    Ok((model.forward(&padded(model, &ids, tokens)?, Readout::Rows(&reads.positions), hooks)?, reads))
}

/// Which outputs of a pass are read, and which answer of which prompt each belongs to.
struct Reads {
    positions: Vec<(usize, usize)>,
    picks: Vec<(usize, u32)>,
    sums: Vec<u32>,
    answers: usize,
}

impl Reads {
    fn new(answers: usize) -> Self {
        Self { positions: Vec::new(), picks: Vec::new(), sums: Vec::new(), answers }
    }

    /// The targets of prompt `number`, whose first row is row `first` of the batch.
    fn add(&mut self, number: usize, first: usize, prompt: &AnswerRows) {
        let shared = prompt.rows.len() == 1;
        for (offset, row) in prompt.rows.iter().enumerate() {
            for (target, &(position, token)) in row.targets.iter().enumerate() {
                let place = (first + offset, position);
                if self.positions.last() != Some(&place) {
                    self.positions.push(place);
                }
                let answer = if shared { target } else { offset };
                self.picks.push((self.positions.len() - 1, token));
                self.sums.push((number * self.answers + answer) as u32);
            }
        }
    }

    /// ln p of every answer, `[n, answers]`.
    fn sums(&self, logits: &Tensor, n: usize) -> Result<Tensor, DirectionError> {
        let logprobs = ops::logprobs_at(&logits.to_dtype(DType::F32)?, &self.picks)?;
        let sums = Tensor::from_slice(&self.sums, self.sums.len(), logits.device())?;
        let zeros = Tensor::zeros(n * self.answers, DType::F32, logits.device())?;
        Ok(zeros.index_add(&sums, &logprobs, 0)?.reshape((n, self.answers))?)
    }
}

/// The rows that ask a prompt for its answers.
pub(super) fn answer_rows(prompt: &crate::model::TokenizedPrompt) -> AnswerRows {
    AnswerRows::new(&prompt.ids, &prompt.answers)
}

/// Rows of a tensor `[n, c]` as numbers.
pub(super) fn rows_of(tensor: &Tensor) -> Result<Vec<Vec<f64>>, DirectionError> {
    let rows: Vec<Vec<f32>> = tensor.detach().to_vec2()?;
    Ok(rows.into_iter().map(|row| row.into_iter().map(f64::from).collect()).collect())
}

fn same_answers(exchanges: &[Exchange]) -> Result<usize, DirectionError> {
    let expected = exchanges.first().map_or(0, |first| first.wanted.answers.len());
    for exchange in exchanges {
        let counts = [&exchange.wanted, &exchange.pair.factual].map(|prompt| prompt.answers.len());
        if let Some(&found) = counts.iter().find(|count| **count != expected) {
            return Err(DirectionError::Answers { pair: exchange.pair.id.clone(), found, expected });
        }
    }
    Ok(expected)
}

/// Tokens of the longest row; refuses rows that this model would turn by unlike frequencies.
fn longest(model: &LanguageModel, prompts: &[AnswerRows]) -> Result<usize, DirectionError> {
    let lengths: Vec<usize> = prompts.iter().flat_map(|prompt| &prompt.rows).map(|row| row.ids.len()).collect();
    let (least, most) = (lengths.iter().min().copied().unwrap_or(0), lengths.iter().max().copied().unwrap_or(0));
    if model.architecture().length_class(least) != model.architecture().length_class(most) {
        let message = format!(
            "this model's rotary frequencies follow the length, and the prompts have {least} to {most} tokens: take prompts of about the same length"
        );
        return Err(crate::model::ModelError::Request(message).into());
    }
    Ok(most)
}

/// Token ids `[b, t]`, t at least `tokens`, padded at their right end.
fn padded(model: &LanguageModel, rows: &[&[u32]], tokens: usize) -> Result<Tensor, DirectionError> {
    let tokens = rows.iter().map(|ids| ids.len()).max().unwrap_or(0).max(tokens);
    let mut ids = Vec::with_capacity(rows.len() * tokens);
    for (number, row) in rows.iter().enumerate() {
        ids.extend_from_slice(row);
        ids.resize((number + 1) * tokens, 0);
    }
    Ok(Tensor::from_vec(ids, (rows.len(), tokens), model.device())?)
}

fn starts(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut next = 0;
    lengths
        .map(|length| {
            next += length;
            next - length
        })
        .collect()
}

fn missing(point: HookPoint) -> DirectionError {
    candle_core::Error::Msg(format!("{point} was not passed")).into()
}
