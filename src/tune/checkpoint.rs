//! Training state on disk: one safetensors file, replaced whole, from which a run goes on bit for bit.
//!
//! It holds the adapter, AdamW's moments and count, the state that terms export, the number of finished steps and what
//! was spent, and the digests of spec, data and base model. Random streams need no state: each hangs on the seed (part
//! of the spec) and the step.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::error::TuneError;
use crate::base::{Digest, files};

/// Whose state it is: a checkpoint of another identity is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Of the spec, the seed among it.
    pub spec: Digest,
    /// Of the tokenised examples.
    pub data: Digest,
    /// Of the base model's weights.
    pub base: Digest,
}

/// What was done and spent so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Finished steps.
    pub steps: usize,
    /// Updates of the optimizer.
    pub updates: u64,
    /// Tokens of task rows, each counted as often as it was used.
    pub task_tokens: u64,
    /// Seconds of training, over all sessions of the run.
    pub seconds: f64,
}

/// The state after some step.
pub struct Checkpoint {
    /// Whose it is.
    pub identity: Identity,
    /// Progress and cost.
    pub spent: Spent,
    /// The adapter's tensors under their PEFT names.
    pub adapter: BTreeMap<String, Tensor>,
    /// The optimizer's moments.
    pub moments: BTreeMap<String, Tensor>,
    /// What the terms of the objective export, `<term>/<name>`.
    pub terms: BTreeMap<String, Tensor>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    identity: Identity,
    spent: Spent,
}

const VERSION: u32 = 1;
const KEY: &str = "counterpath";
/// The largest checkpoint that is read: 16 GiB.
const LIMIT: u64 = 16 << 30;

impl Checkpoint {
    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), TuneError> {
        let header = Header { version: VERSION, identity: self.identity.clone(), spent: self.spent.clone() };
        let header = serde_json::to_string(&header).map_err(|error| TuneError::state("header", error.to_string()))?;
        let parts = [("adapter", &self.adapter), ("moments", &self.moments), ("terms", &self.terms)];
        let tensors = parts
            .into_iter()
            .flat_map(|(part, tensors)| tensors.iter().map(move |(name, tensor)| (format!("{part}/{name}"), tensor)));
        let bytes = safetensors::serialize(tensors, Some(HashMap::from([(KEY.to_owned(), header)])))
            .map_err(|error| TuneError::state("checkpoint", format!("cannot be written: {error}")))?;
        Ok(files::write_atomic(path, &bytes)?)
    }

    /// Reads the file, if it is there and belongs to `identity`.
    pub fn read(path: &Path, identity: &Identity, device: &Device) -> Result<Option<Self>, TuneError> {
        if !files::exists(path) {
            return Ok(None);
        }
        let bytes = files::read(path, LIMIT)?;
        let damaged = |message: String| {
            TuneError::state(
                &path.display().to_string(),
                format!("is no checkpoint of this program ({message}); remove the file to start over"),
            )
        };
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let header =
            metadata.metadata().as_ref().and_then(|map| map.get(KEY)).ok_or_else(|| damaged("no header".into()))?;
        let header: Header = serde_json::from_str(header).map_err(|error| damaged(error.to_string()))?;
        if header.version != VERSION {
            return Err(damaged(format!("version {}, this program writes {VERSION}", header.version)));
        }
        header.identity.must_be(identity, path)?;
        let mut read = Self {
            identity: header.identity,
            spent: header.spent,
            adapter: BTreeMap::new(),
            moments: BTreeMap::new(),
            terms: BTreeMap::new(),
        };
        for (name, tensor) in candle_core::safetensors::load_buffer(&bytes, device)? {
            let (part, rest) = name.split_once('/').ok_or_else(|| damaged(format!("tensor {name}")))?;
            let part = match part {
                "adapter" => &mut read.adapter,
                "moments" => &mut read.moments,
                "terms" => &mut read.terms,
                _ => return Err(damaged(format!("tensor {name}"))),
            };
            part.insert(rest.to_owned(), tensor);
        }
        Ok(Some(read))
    }
}

impl Identity {
    fn must_be(&self, expected: &Self, path: &Path) -> Result<(), TuneError> {
        let parts = [
            ("base model", &self.base, &expected.base),
            ("tuning data", &self.data, &expected.data),
            ("tuning spec", &self.spec, &expected.spec),
        ];
        match parts.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => {
                let (found, expected) = (found.short().to_owned(), expected.short().to_owned());
                Err(TuneError::OtherRun { path: path.to_path_buf(), what, found, expected })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let tensor = |value: f32| Tensor::new(&[[value, 0.1]], &Device::Cpu).expect("tensor");
        let named = |name: &str, value| BTreeMap::from([(name.to_owned(), tensor(value))]);
        Checkpoint {
            identity: Identity { spec: Digest::of(b"spec"), data: Digest::of(b"data"), base: Digest::of(b"base") },
            spent: Spent { steps: 7, updates: 7, task_tokens: 900, seconds: 0.1 + 0.2 },
            adapter: named("q.lora_A.weight", 1.0),
            moments: named("first/q.lora_A.weight", 2.0),
            terms: named("x/y", 3.0),
        }
    }

    fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("counterpath-checkpoint-{}-{name}.safetensors", std::process::id()))
    }

    #[test]
    fn comes_back_as_it_was() {
        let (path, written) = (scratch("whole"), checkpoint());
        written.write(&path).expect("write");
        let read = Checkpoint::read(&path, &written.identity, &Device::Cpu).expect("read").expect("there");
        assert_eq!(read.spent, written.spent);
        for (ours, theirs) in
            [(&read.adapter, &written.adapter), (&read.moments, &written.moments), (&read.terms, &written.terms)]
        {
            assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
            for (a, b) in ours.values().zip(theirs.values()) {
                assert_eq!(a.to_vec2::<f32>().expect("values"), b.to_vec2::<f32>().expect("values"));
            }
        }
        files::remove(&path).expect("clean");
        assert!(Checkpoint::read(&path, &written.identity, &Device::Cpu).expect("absent").is_none());
    }

    #[test]
    fn another_runs_and_damaged_files_are_refused() {
        let (path, written) = (scratch("refused"), checkpoint());
        written.write(&path).expect("write");
        let other = Identity { data: Digest::of(b"other"), ..written.identity.clone() };
        let error = Checkpoint::read(&path, &other, &Device::Cpu).err().expect("other data").to_string();
        assert!(error.contains("tuning data"), "{error}");
        let bytes = files::read(&path, 1 << 20).expect("bytes");
        for cut in [0, 4, 8, 60, bytes.len() - 1] {
            files::write_atomic(&path, &bytes[..cut]).expect("half a file");
            let error =
                Checkpoint::read(&path, &written.identity, &Device::Cpu).err().expect("half a file").to_string();
            assert!(error.contains("remove the file"), "{error}");
        }
        files::remove(&path).expect("clean");
    }
}
