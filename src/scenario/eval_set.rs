//! Frozen eval sets: what claims are made on, so that two runs can be compared item by item.
//!
//! A folder holds `scenario.toml`, `items.jsonl` (labelled prompts of each environment), `pairs.jsonl` (counterfactual
//! pairs of each contrast, paraphrases of them, word swaps, reframed prompts), `card.md` and `digest`. All of it but
//! the card is a function of scenario, prompts and the counts and seed under `[frozen]`: freezing again gives the same
//! bytes. Only the evaluation split's words and framings occur.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ScenarioError;
use super::generate::{Draw, FRAMING};
use super::model::Scenario;
use super::pair::{CounterfactualPair, DoKind, Split, TaskItem};
use super::query::Moved;
use super::scm::TRAIN;
use super::spec::FrozenSpec;
use crate::base::digest::Hasher;
use crate::base::{Digest, FileError, Seed, files};

/// A scenario with its frozen items and pairs.
#[derive(Debug, Clone)]
pub struct EvalSet {
    /// Where they come from.
    pub scenario: Scenario,
    /// Labelled prompts of every environment.
    pub items: Vec<TaskItem>,
    /// All pairs; see [`EvalSet::contrasts`] and its siblings for the parts.
    pub pairs: Vec<CounterfactualPair>,
    /// The digest of scenario, prompts, items and pairs.
    pub digest: Digest,
}

impl EvalSet {
    /// Draws the set that the scenario's `[frozen]` asks for.
    pub fn generate(scenario: Scenario) -> Result<Self, ScenarioError> {
        let size = scenario.frozen();
        Self::generate_sized(scenario, size)
    }

    /// Draws a set of another size or seed.
    pub fn generate_sized(scenario: Scenario, size: FrozenSpec) -> Result<Self, ScenarioError> {
        let seed = Seed::new(size.seed).fork("eval set");
        let mut items = Vec::new();
        for environment in scenario.environments() {
            items.extend(scenario.items(&environment, Split::Evaluation, size.items, seed)?);
        }
        let draw = Draw { environment: TRAIN, split: Split::Evaluation, seed };
        let mut pairs = Vec::new();
        for contrast in scenario.contrasts() {
            let count = if contrast.moved == Moved::Word { size.variants } else { size.pairs };
            pairs.extend(scenario.pairs(draw, &contrast, count)?);
            if contrast.moved != Moved::Word {
                pairs.extend(scenario.paraphrases(draw, &contrast, size.variants)?);
            }
        }
        pairs.extend(scenario.reframed(draw, size.variants)?);
        let digest = digest(&scenario, &jsonl(&items)?, &jsonl(&pairs)?);
        Ok(Self { scenario, items, pairs, digest })
    }

    /// The set of a scenario that ships with the program; drawn anew, which gives the shipped bytes.
    pub fn builtin(id: &str) -> Result<Self, ScenarioError> {
        Self::generate(Scenario::builtin(id)?)
    }

    /// Reads a frozen folder and checks its digest.
    pub fn load(folder: &Path) -> Result<Self, ScenarioError> {
        let scenario = Scenario::load(folder)?;
        let [items, pairs, expected] = ["items.jsonl", "pairs.jsonl", "digest"].map(|name| folder.join(name));
        let (items_text, pairs_text) = (files::read_text(&items)?, files::read_text(&pairs)?);
        let found = digest(&scenario, &items_text, &pairs_text);
        let expected = files::read_text(&expected)?.trim().to_owned();
        if found.as_str() != expected {
            let folder = folder.display().to_string();
            return Err(ScenarioError::Digest { folder, found: found.to_string(), expected });
        }
        let items = read_lines(&items, &items_text)?;
        let pairs = read_lines(&pairs, &pairs_text)?;
        Ok(Self { scenario, items, pairs, digest: found })
    }

    /// Reads a folder if it is frozen, else draws from its scenario.
    pub fn open(folder: &Path) -> Result<Self, ScenarioError> {
        match files::exists(&folder.join("digest")) {
            true => Self::load(folder),
            false => Self::generate(Scenario::load(folder)?),
        }
    }

    /// Writes items, pairs and digest into a folder; scenario and prompts too where the folder has none, so that it
    /// can be loaded from anywhere. A card is written by people.
    pub fn freeze(&self, folder: &Path) -> Result<(), ScenarioError> {
        files::create_folder(folder)?;
        if !files::exists(&folder.join("scenario.toml")) {
            files::write_atomic(&folder.join("scenario.toml"), self.scenario.scenario_text().as_bytes())?;
            let prompts = folder.join(format!("{}.toml", self.scenario.template()));
            files::write_atomic(&prompts, self.scenario.prompt_text().as_bytes())?;
        }
        files::write_atomic(&folder.join("items.jsonl"), jsonl(&self.items)?.as_bytes())?;
        files::write_atomic(&folder.join("pairs.jsonl"), jsonl(&self.pairs)?.as_bytes())?;
        files::write_atomic(&folder.join("digest"), format!("{}\n", self.digest).as_bytes())?;
        Ok(())
    }

    /// The items of one environment.
    pub fn items_of(&self, environment: &str) -> Vec<&TaskItem> {
        self.items.iter().filter(|item| item.environment == environment).collect()
    }

    /// The pairs of the declared contrasts: neither paraphrases nor word swaps nor reframed prompts.
    pub fn contrasts(&self) -> Vec<&CounterfactualPair> {
        self.part(|pair| pair.paraphrase_of.is_none() && !is_word_swap(pair) && !is_reframed(pair))
    }

    /// Pairs of the contrasts in other words.
    pub fn paraphrases(&self) -> Vec<&CounterfactualPair> {
        self.part(|pair| pair.paraphrase_of.is_some())
    }

    /// Pairs that exchange one word and regenerate nothing.
    pub fn word_swaps(&self) -> Vec<&CounterfactualPair> {
        self.part(is_word_swap)
    }

    /// Pairs whose sides say the same in other words.
    pub fn reframed(&self) -> Vec<&CounterfactualPair> {
        self.part(is_reframed)
    }

    fn part(&self, wanted: impl Fn(&CounterfactualPair) -> bool) -> Vec<&CounterfactualPair> {
        self.pairs.iter().filter(|pair| wanted(pair)).collect()
    }
}

/// Whether a pair exchanges one word and regenerates nothing.
pub fn is_word_swap(pair: &CounterfactualPair) -> bool {
    pair.intervention.as_ref().is_some_and(|done| done.kind == DoKind::WordSwap)
}

/// Whether a pair intervenes on the wording itself.
pub fn is_reframed(pair: &CounterfactualPair) -> bool {
    pair.intervention.as_ref().is_some_and(|done| done.variable == FRAMING)
}

fn digest(scenario: &Scenario, items: &str, pairs: &str) -> Digest {
    let mut hasher = Hasher::default();
    hasher.part("scenario", scenario.digest().as_str().as_bytes());
    hasher.part("items", items.as_bytes());
    hasher.part("pairs", pairs.as_bytes());
    hasher.finish()
}

fn jsonl<T: Serialize>(rows: &[T]) -> Result<String, ScenarioError> {
    let mut text = String::new();
    for row in rows {
        let line = serde_json::to_string(row)
            .map_err(|error| FileError::Malformed { path: "eval set".into(), message: error.to_string() })?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

fn read_lines<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>, ScenarioError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            let path = path.to_path_buf();
            ScenarioError::File(FileError::MalformedLine { path, line: index + 1, message: error.to_string() })
        })
    };
    lines.map(read).collect()
}
