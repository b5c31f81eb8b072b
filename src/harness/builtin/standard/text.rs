//! Likelihood of plain texts.

use regex::{Captures, Regex};

use super::{Ask, Document, Standard};
use crate::base::Digest;
use crate::base::files::{self, TEXT_LIMIT};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Row, Rows};
use crate::harness::error::HarnessError;
use crate::harness::task::{OutputType, Task};

const METRICS: &[&str] = &["word_perplexity@lm-eval", "byte_perplexity@lm-eval", "bits_per_byte@lm-eval"];

pub(super) const TASKS: &[BuiltIn] = &[
    BuiltIn {
        id: "texts",
        groups: &["perplexity", "standard"],
        description: "How likely texts are, each scored whole over rolling windows.",
        files: "Any file of rows with the field `text`; a .txt file is one text (tinyshakespeare), not one a line.",
        hub: None,
        load: texts,
    },
    BuiltIn {
        id: "wikitext",
        groups: &["perplexity", "standard"],
        description: "How likely Wikipedia's articles are (WikiText-2), detokenised; words and bytes are counted before that.",
        files: "The hub's test split by documents (EleutherAI/wikitext_document_level, wikitext-2-raw-v1) with the field `page`, as \
                JSONL or Parquet.",
        hub: Some("EleutherAI/wikitext_document_level"),
        load: wikitext,
    },
];

fn standard(version: &'static str) -> Standard {
    Standard { output_type: OutputType::LoglikelihoodRolling, ..Standard::choices(version, METRICS) }
}

fn without_examples(source: &Source<'_>) -> Result<(), HarnessError> {
    match source.num_fewshot.unwrap_or(0) {
        0 => Ok(()),
        _ => Err(source.refuse("a text is scored from its start; ask for 0 examples")),
    }
}

fn texts(source: &Source<'_>) -> Result<Task, HarnessError> {
    without_examples(source)?;
    let standard = Standard { templates: &[("doc_to_text", ""), ("doc_to_target", "{{text}}")], ..standard("1.0") };
    let whole = source.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt"));
    let rows = match whole {
        true => whole_file(source)?,
        false => source.rows(&["test-{}.parquet", "test.jsonl", "validation-{}.parquet", "validation.jsonl"])?,
    };
    standard.load_rows(source, rows, |record| {
        let text = record.text("text")?.to_owned();
        match text.is_empty() {
            true => Err(record.refuse("text", "it is empty, and nothing can be scored")),
            false => Ok(Document::of(record, Ask::Text { text })),
        }
    })
}

fn whole_file(source: &Source<'_>) -> Result<Rows, HarnessError> {
    let digest = Digest::of(&files::read(source.path, TEXT_LIMIT)?);
    let fields = [("text".to_owned(), files::read_text(source.path)?.into())].into_iter().collect();
    Ok(Rows { path: source.path.to_path_buf(), rows: vec![Row { line: 1, index: 0, fields }], bad: vec![], digest })
}

fn wikitext(source: &Source<'_>) -> Result<Task, HarnessError> {
    without_examples(source)?;
    let standard = Standard {
        names: ["test-{}.parquet", "test.parquet", "test.jsonl", "test.json"].map(str::to_owned).to_vec(),
        templates: &[
            ("doc_to_text", ""),
            ("doc_to_target", "!function preprocess_wikitext.wikitext_detokenizer"),
            ("process_results", "!function preprocess_wikitext.process_results"),
        ],
        ..standard("2.0")
    };
    standard.load(source, |record: &Record<'_>| {
        let page = record.text("page")?;
        let document = Document::of(record, Ask::Text { text: detokenized(page) });
        // Words and bytes are those of the page as it stands in the file.
        let words = crate::harness::metric::words(page).to_string();
        Ok(document.with_column("words", words).with_column("bytes", page.len().to_string()))
    })
}

/// White space as Python's regular expressions have it.
const SPACE: &str = r"[\s\x1c-\x1f]*";

/// WikiText's page without the marks of its tokeniser (lm-eval `tasks/wikitext/preprocess_wikitext.py`).
fn detokenized(page: &str) -> String {
    let plain = [
        ("s '", "s'"),
        (" @-@ ", "-"),
        (" @,@ ", ","),
        (" @.@ ", "."),
        (" : ", ": "),
        (" ; ", "; "),
        (" . ", ". "),
        (" ! ", "! "),
        (" ? ", "? "),
        (" , ", ", "),
    ];
    let behind = [
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" \u{b0} ", "\u{b0}"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    ];
    let replace = |text: String, [from, to]: [&str; 2]| text.replace(from, to);
    let mut text = plain.into_iter().fold(page.to_owned(), |text, (from, to)| replace(text, [from, to]));
    for [open, inside, close] in
        [["(", r"[^)]", ")"], ["[", r"[^\]]", "]"], ["{", r"[^}]", "}"], ["\"", "[^\"]", "\""], ["'", "[^']", "'"]]
    {
        let pattern = format!("{}{SPACE}({inside}*?){SPACE}{}", regex::escape(open), regex::escape(close));
        if let Ok(pattern) = Regex::new(&pattern) {
            let kept = |found: &Captures<'_>| format!("{open}{}{close}", found.get(1).map_or("", |kept| kept.as_str()));
            text = pattern.replace_all(&text, kept).into_owned();
        }
    }
    behind.into_iter().fold(text, |text, (from, to)| replace(text, [from, to]))
}
