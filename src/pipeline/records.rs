//! What the records of a run have in common, and small texts for people.

use super::RunRequest;
use super::error::PipelineError;
use super::mediation::Mediated;
use super::population::Population;
use super::recipe::TargetRecipe;
use super::targets::UNWANTED;
use crate::base::FileError;
use crate::compare::Margins;
use crate::record::{AdapterIdentity, CircuitRecord, ModelIdentity, Request, RunRecord, Versions};
use crate::report::Arm;
use crate::stats::{Estimate, Pathway};

/// The version of candle that this program is built with.
const CANDLE: &str = "0.11.1";

/// Makes records that agree on request, model, eval sets and seeds.
pub struct Recorder {
    blank: RunRecord,
}

impl Recorder {
    /// For a run.
    pub fn new(request: &RunRequest, sets: &[Population]) -> Result<Self, PipelineError> {
        let model = identity(&request.source, &request.model);
        let mut blank = RunRecord::new("", model, versions());
        let value = |result: Result<serde_json::Value, serde_json::Error>| {
            result.map_err(|error| FileError::Malformed { path: "recipe".into(), message: error.to_string() })
        };
        blank.request = Request {
            written: serde_json::Value::String(request.written.clone()),
            resolved: value(serde_json::to_value(&request.recipe))?,
        };
        blank.tokenizer = Some(request.model.tokenizer()?.digest().clone());
        blank.eval_sets = sets.iter().map(Population::identity).collect();
        blank.seeds.insert("run".into(), request.recipe.seed);
        Ok(Self { blank })
    }

    /// An arm's record, without results.
    pub fn record(&self, name: &str, adapter: Option<AdapterIdentity>) -> RunRecord {
        RunRecord { name: name.to_owned(), adapter, ..self.blank.clone() }
    }
}

/// Who a model is.
pub fn identity(source: &str, model: &crate::model::LanguageModel) -> ModelIdentity {
    ModelIdentity {
        source: source.to_owned(),
        family: model.architecture().family.clone(),
        parameters: model.parameter_count(),
        digest: model.digest().clone(),
    }
}

/// The versions that numbers hang on.
pub fn versions() -> Versions {
    Versions { counterpath: env!("CARGO_PKG_VERSION").into(), candle: CANDLE.into() }
}

/// Adds what mediation found to a record.
pub fn add_mediation(record: &mut RunRecord, mediated: &[Mediated]) {
    for found in mediated {
        record.sites.push(found.sites.clone());
        record.grids.extend(found.grids.iter().cloned());
        record.pathways.push(found.found.pathway.clone());
        record.effects.extend(found.effects.iter().cloned());
        record.checks.extend(found.checks.iter().cloned());
        record.refutations.extend(found.refutations.iter().cloned());
    }
}

/// A pathway in one line.
pub fn pathway_line(pathway: &Pathway) -> String {
    if pathway.sites.is_empty() {
        return "no pathway found".into();
    }
    let share = |estimate: &Estimate| match (estimate.value, estimate.interval) {
        (Some(value), Some(interval)) => {
            format!("{:.0} % [{:.0}, {:.0}]", 100.0 * value, 100.0 * interval.low, 100.0 * interval.high)
        }
        _ => "an undefined share".into(),
    };
    let shares =
        format!("{} of the effect (put in), {} (taken out)", share(&pathway.share), share(&pathway.share_denoised));
    let reason = pathway.share.undefined.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} carries {shares}{reason}", pathway.sites.join(" + "))
}

/// Why an eval set has no circuit.
pub const NO_CIRCUIT: &str = "no circuit was looked for, since no pair's two prompts have equally many tokens";

/// A circuit in one line.
pub fn circuit_line(circuit: &CircuitRecord) -> String {
    let evaluation = &circuit.report.evaluation;
    let faithfulness = match (evaluation.faithfulness.value, evaluation.faithfulness.interval) {
        (Some(value), Some(interval)) => {
            format!("faithfulness {value:.2} [{:.2}, {:.2}]", interval.low, interval.high)
        }
        _ => format!("no faithfulness: {}", evaluation.faithfulness.undefined.as_deref().unwrap_or("undefined")),
    };
    let pairs = circuit.report.pairs;
    format!(
        "a circuit of {} of {} edges, {faithfulness} on {pairs} held-out pairs",
        evaluation.edges, circuit.decoder_edges
    )
}

/// What limits the conclusions from circuits.
pub fn circuit_caveats(sets: &[Population], traced: &[CircuitRecord]) -> Vec<String> {
    let without = |set: &&Population| traced.iter().all(|circuit| circuit.population != set.id);
    let mut caveats: Vec<String> =
        sets.iter().filter(without).map(|set| format!("{}: {NO_CIRCUIT}.", set.id)).collect();
    if !traced.is_empty() {
        caveats.push(
            "A circuit's numbers hang on what stands in for a cut edge (here its ablation, named beside each number), and its edges were chosen by a gradient, not one by one."
                .into(),
        );
    }
    caveats
}

/// An arm of the report.
pub fn report_arm(name: &str) -> Arm {
    Arm {
        name: name.to_owned(),
        description: super::summary::describe(name).to_owned(),
        record: format!("{}/{}", name.replace(' ', "-"), RunRecord::FILE),
    }
}

/// The metrics whose tests form the Holm family.
pub fn headline_metrics() -> Vec<String> {
    let others = ["sensitivity.follow_rate", "accuracy.exact", "robustness.worst_group"];
    UNWANTED.into_iter().chain(others).map(str::to_owned).collect()
}

/// The equivalence margins that the recipe fixes.
pub fn margins(targets: &TargetRecipe) -> Margins {
    let mut margins = Margins::default();
    margins.set("sensitivity.follow_rate", targets.sensitivity_margin);
    margins.set("accuracy.exact", targets.accuracy_margin);
    margins
}

/// What limits the conclusions.
pub fn caveats(sets: &[Population], seeds: usize) -> Vec<String> {
    let mut caveats = vec![
        "Effects are averages over the generated pairs of the named eval sets; they say nothing of prompts of another kind.".to_owned(),
        "One framing of a prompt is one cluster; with about ten framings an interval leans on asymptotics.".to_owned(),
    ];
    if seeds == 1 {
        caveats.push(
            "Each arm was trained with one seed: intervals cover items, not training runs (--seeds N adds seeds)."
                .into(),
        );
    } else {
        let few = if seeds < 5 { "; fewer than five seeds make it likely too narrow" } else { "" };
        caveats.push(format!("Targets are means over {seeds} training seeds, with an interval over seeds and framings{few}. The tables show each seed alone."));
    }
    for set in sets.iter().filter(|set| set.scenario.is_none()) {
        caveats.push(format!(
            "The pairs of {} are declared: nothing vouches that their sides differ by one intervention.",
            set.id
        ));
    }
    caveats
}

/// The machine in a few words.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{} {}, {cores} cores, {} threads",
        std::env::consts::OS,
        std::env::consts::ARCH,
        rayon::current_num_threads()
    )
}

/// The largest resident memory of this process so far, where the system says.
pub fn peak_memory() -> Option<u64> {
    let status = crate::base::files::read_text(std::path::Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
