//! The files of a run folder that a report is made of.
//!
//! ```text
//! RUN/summary.json       questions, arms, targets, graphs, examples, curves
//! RUN/<arm>/record.json  one record an arm (the summary says where)
//! RUN/comparisons.json   the paired comparisons
//! RUN/timings.json       what the clock says
//! ```

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ReportError;
use super::data::{Arm, Headline, HeadlineRole, RunSummary, SUMMARY_SCHEMA};
use crate::base::files;
use crate::compare::Comparison;
use crate::record::{RunRecord, Timings};

/// Everything that a report shows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReportData {
    /// The summary.
    pub summary: RunSummary,
    /// The records, in the order of the summary's arms.
    pub records: Vec<RunRecord>,
    /// The comparison of every arm with the first, and others (such as pathway against random sites) after it.
    pub comparisons: Vec<Comparison>,
    /// What the clock says.
    pub timings: Timings,
}

impl RunSummary {
    /// The file's name in a run folder.
    pub const FILE: &'static str = "summary.json";
}

impl ReportData {
    /// The file of the comparisons in a run folder.
    pub const COMPARISONS_FILE: &'static str = "comparisons.json";

    /// Reads a run folder, or a single record (its file, or a folder that holds one).
    pub fn load(path: &Path) -> Result<Self, ReportError> {
        let summary = path.join(RunSummary::FILE);
        if files::exists(&summary) {
            return Self::load_run(path, &summary);
        }
        let inside = path.join(RunRecord::FILE);
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        match (files::exists(&inside), is_json) {
            (true, _) => Ok(Self::of_records(vec![RunRecord::load(&inside)?])),
            (false, true) => Ok(Self::of_records(vec![RunRecord::load(path)?])),
            (false, false) => Err(ReportError::NothingToReport { path: path.to_path_buf() }),
        }
    }

    fn load_run(folder: &Path, file: &Path) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Header {
            schema: u32,
        }
        let header: Header = files::read_json(file)?;
        if header.schema > SUMMARY_SCHEMA {
            return Err(ReportError::Newer { path: file.to_path_buf(), found: header.schema });
        }
        let summary: RunSummary = files::read_json(file)?;
        let mut records = Vec::with_capacity(summary.arms.len());
        for arm in &summary.arms {
            let path = folder.join(&arm.record);
            let record = RunRecord::load(&path)?;
            if record.name != arm.name {
                return Err(ReportError::WrongArm { path, expected: arm.name.clone(), found: record.name });
            }
            records.push(record);
        }
        let comparisons = folder.join(Self::COMPARISONS_FILE);
        let timings = folder.join(Timings::FILE);
        Ok(Self {
            summary,
            records,
            comparisons: if files::exists(&comparisons) { files::read_json(&comparisons)? } else { Vec::new() },
            timings: if files::exists(&timings) { Timings::load(&timings)? } else { Timings::default() },
        })
    }

    /// Writes the summary, the records, the comparison and the timings into a run folder.
    pub fn save(&self, folder: &Path) -> Result<(), ReportError> {
        for (arm, record) in self.summary.arms.iter().zip(&self.records) {
            record.save(&folder.join(&arm.record))?;
        }
        files::write_json(&folder.join(Self::COMPARISONS_FILE), &self.comparisons)?;
        self.timings.save(&folder.join(Timings::FILE))?;
        // The summary last: a folder that has it has everything that it names.
        files::write_json(&folder.join(RunSummary::FILE), &self.summary)?;
        Ok(())
    }

    /// A report on records alone, without questions, targets or examples; the first record is the base.
    pub fn of_records(records: Vec<RunRecord>) -> Self {
        let arms: Vec<Arm> = records
            .iter()
            .map(|record| Arm {
                name: record.name.clone(),
                description: String::new(),
                record: format!("{}/{}", record.name, RunRecord::FILE),
            })
            .collect();
        let title = match records.as_slice() {
            [only] => format!("Record of {}", only.name),
            _ => format!("Comparison of {} records", records.len()),
        };
        let headlines = default_headlines(&records);
        let focus = if arms.len() > 1 { arms.last().map(|arm| arm.name.clone()) } else { None };
        let summary = RunSummary { schema: SUMMARY_SCHEMA, title, arms, headlines, focus, ..RunSummary::default() };
        Self { summary, records, comparisons: Vec::new(), timings: Timings::default() }
    }
}

/// The deciding metrics where nobody named any.
fn default_headlines(records: &[RunRecord]) -> Vec<Headline> {
    let known: [(&[&str], &str, HeadlineRole); 3] = [
        (
            &["fairness.counterfactual_gap@log_odds", "robustness.counterfactual_gap@log_odds"],
            "Effect of spurious changes on the answer",
            HeadlineRole::Unwanted,
        ),
        (&["sensitivity.follow_effect"], "Effect of legitimate changes on the answer", HeadlineRole::Wanted),
        (&["accuracy.exact"], "Accuracy", HeadlineRole::Outcome),
    ];
    let scored = |id: &&str| records.iter().flat_map(|record| &record.scores).any(|score| score.metric == *id);
    known
        .into_iter()
        .map(|(ids, title, role)| Headline {
            metrics: ids.iter().copied().filter(|id| scored(id)).map(str::to_owned).collect(),
            populations: Vec::new(),
            title: title.to_owned(),
            role,
        })
        .filter(|headline| !headline.metrics.is_empty())
        .collect()
}
