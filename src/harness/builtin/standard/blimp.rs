//! BLiMP: pairs of sentences that differ in one point of grammar (Warstadt et al. 2020), 67 paradigms.

use super::{Ask, Document, Standard};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::Record;
use crate::harness::error::HarnessError;
use crate::harness::task::Task;

const DESCRIPTION: &str =
    "Whether the grammatical sentence of a minimal pair is the likelier one; the name says the paradigm.";

const FILES: &str = "The paradigm's file of the release (wh_island.jsonl: `sentence_good`, `sentence_bad`, `UID`, `pairID`, …), or the hub's \
                     (nyu-mll/blimp, one subset a paradigm; `pair_id` instead of `pairID`) as JSONL or Parquet; or a folder of the release's files.";

macro_rules! paradigms {
    ($($paradigm:literal),* $(,)?) => {
        &[$(BuiltIn {
            id: concat!("blimp_", $paradigm),
            groups: &["blimp", "standard"],
            description: DESCRIPTION,
            files: FILES,
            hub: Some("nyu-mll/blimp"),
            load,
        }),*]
    };
}

pub(super) const TASKS: &[BuiltIn] = paradigms![
    "adjunct_island",
    "anaphor_gender_agreement",
    "anaphor_number_agreement",
    "animate_subject_passive",
    "animate_subject_trans",
    "causative",
    "complex_NP_island",
    "coordinate_structure_constraint_complex_left_branch",
    "coordinate_structure_constraint_object_extraction",
    "determiner_noun_agreement_1",
    "determiner_noun_agreement_2",
    "determiner_noun_agreement_irregular_1",
    "determiner_noun_agreement_irregular_2",
    "determiner_noun_agreement_with_adj_2",
    "determiner_noun_agreement_with_adj_irregular_1",
    "determiner_noun_agreement_with_adj_irregular_2",
    "determiner_noun_agreement_with_adjective_1",
    "distractor_agreement_relational_noun",
    "distractor_agreement_relative_clause",
    "drop_argument",
    "ellipsis_n_bar_1",
    "ellipsis_n_bar_2",
    "existential_there_object_raising",
    "existential_there_quantifiers_1",
    "existential_there_quantifiers_2",
    "existential_there_subject_raising",
    "expletive_it_object_raising",
    "inchoative",
    "intransitive",
    "irregular_past_participle_adjectives",
    "irregular_past_participle_verbs",
    "irregular_plural_subject_verb_agreement_1",
    "irregular_plural_subject_verb_agreement_2",
    "left_branch_island_echo_question",
    "left_branch_island_simple_question",
    "matrix_question_npi_licensor_present",
    "npi_present_1",
    "npi_present_2",
    "only_npi_licensor_present",
    "only_npi_scope",
    "passive_1",
    "passive_2",
    "principle_A_c_command",
    "principle_A_case_1",
    "principle_A_case_2",
    "principle_A_domain_1",
    "principle_A_domain_2",
    "principle_A_domain_3",
    "principle_A_reconstruction",
    "regular_plural_subject_verb_agreement_1",
    "regular_plural_subject_verb_agreement_2",
    "sentential_negation_npi_licensor_present",
    "sentential_negation_npi_scope",
    "sentential_subject_island",
    "superlative_quantifiers_1",
    "superlative_quantifiers_2",
    "tough_vs_raising_1",
    "tough_vs_raising_2",
    "transitive",
    "wh_island",
    "wh_questions_object_gap",
    "wh_questions_subject_gap",
    "wh_questions_subject_gap_long_distance",
    "wh_vs_that_no_gap",
    "wh_vs_that_no_gap_long_distance",
    "wh_vs_that_with_gap",
    "wh_vs_that_with_gap_long_distance"
];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let paradigm = source.id.strip_prefix("blimp_").unwrap_or(source.id);
    if source.num_fewshot.is_some_and(|count| count > 0) {
        return Err(source.refuse("a sentence is scored from its start; ask for 0 examples"));
    }
    let standard = Standard {
        names: ["jsonl", "json", "parquet", "csv"].map(|end| format!("{paradigm}.{end}")).to_vec(),
        templates: &[
            ("doc_to_text", ""),
            ("doc_to_target", "0"),
            ("doc_to_choice", "{{[sentence_good, sentence_bad]}}"),
        ],
        ..Standard::choices("1.0", &["acc@lm-eval"])
    };
    standard.load(source, |record| document(record, paradigm))
}

fn document(record: &Record<'_>, paradigm: &str) -> Result<Document, HarnessError> {
    if record.get("UID").is_some() {
        record.one_of("UID", &[paradigm])?;
    }
    let choices = vec![record.text("sentence_good")?.to_owned(), record.text("sentence_bad")?.to_owned()];
    let mut document = Document::of(record, Ask::Choice { context: String::new(), choices, right: vec![0] });
    let number = ["pairID", "pair_id"].into_iter().find(|field| record.get(field).is_some());
    document.id = number.map(|field| record.text_or_number(field)).transpose()?;
    for column in ["field", "linguistics_term"] {
        if record.get(column).is_some() {
            document.columns.push((column, record.text(column)?.to_owned()));
        }
    }
    Ok(document)
}
