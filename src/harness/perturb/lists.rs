//! Word lists: small files of the project's own under `prompts/perturbations`, and files that take their place.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::base::{FileError, files};

/// The words that perturbations put in.
#[derive(Debug, Clone, PartialEq)]
pub struct Lists {
    /// Expanded form and contraction, in the order of their precedence.
    pub contractions: Vec<(String, String)>,
    /// A word and its common misspellings.
    pub misspellings: Vec<(String, Vec<String>)>,
    /// A word or phrase of one dialect and its forms in the other.
    pub dialect: Vec<(String, Vec<String>)>,
    /// Terms, female and male.
    pub terms: Vec<(String, String)>,
    /// First names with what they are read as.
    pub names: Vec<NameGroup>,
    /// Places by type.
    pub places: BTreeMap<String, Vec<String>>,
    /// Wordings around a question; `{text}` is the question.
    pub framings: Vec<String>,
}

/// First names that are read alike.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameGroup {
    /// Such as `white_american`.
    pub group: String,
    /// `female` or `male`.
    pub gender: String,
    /// The names.
    pub names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pairs {
    pairs: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    terms: Vec<(String, String)>,
}

/// Rows in the order of their file, which says which of two phrases at one place is taken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    words: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    groups: Vec<NameGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Places {
    places: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Framings {
    framings: Vec<String>,
}

macro_rules! embedded {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../prompts/perturbations/", $name)))
    };
}

const CONTRACTIONS: (&str, &str) = embedded!("contractions.toml");
const MISSPELLINGS: (&str, &str) = embedded!("misspellings.toml");
const DIALECT: (&str, &str) = embedded!("dialect.toml");
const TERMS: (&str, &str) = embedded!("gender.toml");
const NAMES: (&str, &str) = embedded!("names.toml");
const ENTITIES: (&str, &str) = embedded!("entities.toml");
const FRAMINGS: (&str, &str) = embedded!("framings.toml");

impl Lists {
    /// The project's own lists.
    ///
    /// # Errors
    /// None on the files as they are.
    pub fn builtin() -> Result<Self, FileError> {
        Self::read(None)
    }

    /// The project's own lists, but for those that the folder holds under the same names. Beside TOML it may hold the files that
    /// HELM reads: `correct_to_misspelling.json`, `SAE_to_AAVE_mapping.json`, `person_names.txt`.
    ///
    /// # Errors
    /// A file that is not what its name says.
    pub fn load(folder: &Path) -> Result<Self, FileError> {
        let mut lists = Self::read(Some(folder))?;
        let there = |name: &str| Some(folder.join(name)).filter(|path| files::exists(path));
        if let Some(path) = there("correct_to_misspelling.json") {
            lists.misspellings = spellings(&path, files::read_json(&path)?)?;
        }
        if let Some(path) = there("SAE_to_AAVE_mapping.json") {
            lists.dialect = spellings(&path, files::read_json(&path)?)?;
        }
        if let Some(path) = there("person_names.txt") {
            lists.names = person_names(&files::read_text(&path)?);
        }
        Ok(lists)
    }

    fn read(folder: Option<&Path>) -> Result<Self, FileError> {
        let contractions: Pairs = list(folder, CONTRACTIONS)?;
        let misspellings: Words = list(folder, MISSPELLINGS)?;
        let dialect: Words = list(folder, DIALECT)?;
        let terms: Terms = list(folder, TERMS)?;
        let names: Names = list(folder, NAMES)?;
        let entities: Places = list(folder, ENTITIES)?;
        let framings: Framings = list(folder, FRAMINGS)?;
        Ok(Self {
            contractions: contractions.pairs,
            misspellings: spellings(Path::new(MISSPELLINGS.0), misspellings.words)?,
            dialect: spellings(Path::new(DIALECT.0), dialect.words)?,
            terms: terms.terms,
            names: names.groups,
            places: entities.places,
            framings: framings.framings,
        })
    }

    /// The names of a group and gender; empty where the lists have none.
    pub fn names_of(&self, group: &str, gender: &str) -> &[String] {
        let found = self.names.iter().find(|list| list.group == group && list.gender == gender);
        found.map(|list| list.names.as_slice()).unwrap_or_default()
    }

    /// The groups that names are declared for, each once.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for list in &self.names {
            if !groups.contains(&list.group.as_str()) {
                groups.push(&list.group);
            }
        }
        groups
    }
}

fn list<T: serde::de::DeserializeOwned>(folder: Option<&Path>, (name, own): (&str, &str)) -> Result<T, FileError> {
    match folder.map(|folder| folder.join(name)).filter(|path| files::exists(path)) {
        Some(path) => files::read_toml(&path),
        None => files::parse_toml(&Path::new("prompts/perturbations").join(name), own),
    }
}

fn spellings(
    path: &Path,
    rows: serde_json::Map<String, serde_json::Value>,
) -> Result<Vec<(String, Vec<String>)>, FileError> {
    let malformed = |word: &str| FileError::Malformed {
        path: path.to_path_buf(),
        message: format!("{word:?} must have a list of at least one text"),
    };
    let read = |(word, forms): (String, serde_json::Value)| match serde_json::from_value::<Vec<String>>(forms) {
        Ok(forms) if !forms.is_empty() && !word.is_empty() => Ok((word, forms)),
        _ => Err(malformed(&word)),
    };
    rows.into_iter().map(read).collect()
}

/// Lines `name,first_name,race,GROUP,gender,GENDER`, in any order of the categories; other lines are not names that can be swapped.
fn person_names(text: &str) -> Vec<NameGroup> {
    let mut groups: Vec<NameGroup> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [name, "first_name", categories @ ..] = fields.as_slice() else { continue };
        let of = |wanted: &str| {
            categories.chunks_exact(2).find_map(|pair| match pair {
                [category, value] if *category == wanted => Some(*value),
                _ => None,
            })
        };
        let (Some(group), Some(gender)) = (of("race"), of("gender")) else { continue };
        match groups.iter_mut().find(|list| list.group == group && list.gender == gender) {
            Some(list) => list.names.push((*name).to_owned()),
            None => {
                groups.push(NameGroup { group: group.into(), gender: gender.into(), names: vec![(*name).to_owned()] });
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn swaps_are_bijections() {
        let lists = Lists::builtin().expect("the project's own lists");
        let distinct = |words: Vec<&String>| words.iter().collect::<BTreeSet<_>>().len() == words.len();
        assert!(distinct(lists.terms.iter().flat_map(|(female, male)| [female, male]).collect()));
        assert!(distinct(lists.contractions.iter().flat_map(|(long, short)| [long, short]).collect()));
        assert!(distinct(lists.names.iter().flat_map(|list| &list.names).collect()));
        assert!(distinct(lists.places.values().flatten().collect()));
        let sizes: BTreeSet<usize> = lists.names.iter().map(|list| list.names.len()).collect();
        assert_eq!(sizes.len(), 1, "the i-th names of two groups are swapped");
        assert!(lists.misspellings.iter().all(|(word, forms)| !forms.contains(word)));
    }
}
