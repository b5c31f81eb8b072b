//! Examples before a question (lm-eval `api/samplers.py`).

use serde_json::{Map, Value};

use crate::stats::PythonRandom;

/// lm-eval's seed of examples.
pub const SEED: u64 = 1234;

/// Which examples are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplerKind {
    /// Drawn with Python's generator, one stream a task that goes on from document to document.
    Drawn,
    /// The first of the pool.
    FirstN,
}

/// Chooses examples from a pool. Documents must be asked for in their order: what one draws moves what the next draws,
/// as it does in lm-eval.
pub struct Sampler {
    kind: SamplerKind,
    pool: Vec<Map<String, Value>>,
    random: PythonRandom,
}

impl Sampler {
    /// A sampler at the start of its stream.
    pub fn new(kind: SamplerKind, pool: Vec<Map<String, Value>>, seed: u64) -> Self {
        Self { kind, pool, random: PythonRandom::new(seed) }
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.pool.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pool.is_empty()
    }

    /// `count` examples; `without` is the document that is asked about, where it may stand in the pool.
    ///
    /// # Errors
    /// The pool holds too few.
    pub fn sample(
        &mut self,
        count: usize,
        without: Option<&Map<String, Value>>,
    ) -> Result<Vec<Map<String, Value>>, String> {
        if count == 0 {
            return Ok(Vec::new());
        }
        match self.kind {
            SamplerKind::FirstN => {
                let rest = self.pool.iter().filter(|doc| Some(*doc) != without);
                let taken: Vec<_> = rest.take(count).cloned().collect();
                self.enough(taken.len(), count)?;
                Ok(taken)
            }
            SamplerKind::Drawn => {
                let drawn = self.draw(None, count + usize::from(without.is_some()))?;
                let mut taken: Vec<_> = drawn.into_iter().filter(|doc| Some(doc) != without).collect();
                taken.truncate(count);
                // More copies of the document than one were drawn: lm-eval draws anew among the others.
                if taken.len() < count {
                    taken = self.draw(without, count)?;
                }
                Ok(taken)
            }
        }
    }

    fn draw(&mut self, without: Option<&Map<String, Value>>, count: usize) -> Result<Vec<Map<String, Value>>, String> {
        let others: Option<Vec<&Map<String, Value>>> =
            without.map(|without| self.pool.iter().filter(|doc| *doc != without).collect());
        let size = others.as_ref().map_or(self.pool.len(), Vec::len);
        self.enough(size, count)?;
        let drawn = self.random.sample(size as u32, count as u32).unwrap_or_default();
        let doc = |place: u32| match &others {
            None => self.pool.get(place as usize),
            Some(others) => others.get(place as usize).copied(),
        };
        Ok(drawn.into_iter().filter_map(doc).cloned().collect())
    }

    fn enough(&self, have: usize, needed: usize) -> Result<(), String> {
        match have >= needed {
            true => Ok(()),
            false => {
                Err(format!("{needed} examples are needed and the pool holds {have}; lower the number of examples"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pool(values: &[i64]) -> Vec<Map<String, Value>> {
        values.iter().map(|value| Map::from_iter([("a".to_owned(), json!(value))])).collect()
    }

    fn taken(sampler: &mut Sampler, count: usize, without: Option<i64>) -> Vec<i64> {
        let without = without.map(|value| pool(&[value]).remove(0));
        let docs = sampler.sample(count, without.as_ref()).expect("examples");
        docs.iter().map(|doc| doc["a"].as_i64().expect("a number")).collect()
    }

    #[test]
    fn examples_are_those_of_lm_eval() {
        // ContextSampler([{"a": i} for i in range(10)], rnd=1234) of lm-eval 0.4.13: sample(3) and sample(3, {"a": i}).
        let numbers: Vec<i64> = (0..10).collect();
        let mut sampler = Sampler::new(SamplerKind::Drawn, pool(&numbers), SEED);
        assert_eq!(taken(&mut sampler, 3, None), DRAWN[0]);
        assert_eq!(taken(&mut sampler, 3, Some(7)), DRAWN[1]);
        assert_eq!(taken(&mut sampler, 3, Some(0)), DRAWN[2]);
        let mut first = Sampler::new(SamplerKind::FirstN, pool(&numbers), SEED);
        assert_eq!(taken(&mut first, 2, Some(0)), [1, 2]);
        assert!(first.sample(10, Some(&pool(&[0])[0])).is_err());
        // Copies of the document: drawn again among the others.
        let mut copies = Sampler::new(SamplerKind::Drawn, pool(&[5, 5, 5, 5, 1, 2, 3]), SEED);
        assert_eq!(taken(&mut copies, 3, Some(5)), COPIES);
    }

    const DRAWN: [[i64; 3]; 3] = [[7, 1, 0], [1, 0, 9], [5, 3, 7]];
    const COPIES: [i64; 3] = [1, 3, 2];
}
