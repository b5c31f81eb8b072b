//! Circuits: the diagram, faithfulness over size with the areas under it, random circuits as a null, the tests, and the
//! same circuit in the tuned checkpoints.

use super::circuit_tables::{ablations, areas, change_table, edge_effects, evidence, ranked, sizes};
use super::{View, distinct, paragraph, picture_note, titled};
use crate::record::{CircuitChange, CircuitRecord};
use crate::report::document::{Block, Figure, Section, Tone, strong, text};
use crate::report::figure::{Chart, ChartLine, ChartMarks, Ideal, PathwayDiagram, Spread};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::{capitalised, population_in_words};
use crate::stats::circuit::{CircuitEvaluation, FaithfulnessCurve, Ranking};

/// Edges that a diagram draws at most.
const DRAWN: usize = 40;

/// One checkpoint's comparison with the first, and the checkpoint's name.
pub(in crate::report) type NamedChange<'a> = (String, &'a CircuitChange);

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let base = view.base()?;
    let circuits = &base.record.circuits;
    let changes: Vec<NamedChange<'_>> = view
        .columns()
        .iter()
        .flat_map(|arm| arm.record.circuit_changes.iter().map(|change| (arm.label(), change)))
        .collect();
    let mut blocks = introduction(glossary, circuits)?;
    blocks.extend(by_population(circuits, &changes, &base.label()));
    titled("circuit", "The circuit", blocks)
}

/// Words, and how to read the numbers; `None` where there is no circuit.
pub(in crate::report) fn introduction(glossary: &mut Glossary, circuits: &[CircuitRecord]) -> Option<Vec<Block>> {
    let first = circuits.first()?;
    let mut blocks: Vec<Block> =
        glossary.introduce(&["circuit", "faithfulness", "cpr", "hypothesis-tests"]).into_iter().collect();
    let ablation = ablation_in_words(&first.report.evaluation.ablation);
    blocks.push(paragraph(match first.method.as_str() {
        "" => format!("The circuit came from a file. A cut edge brings {ablation}."),
        method => format!(
            "Every edge was scored by {} on discovery pairs; the edges with the largest scores, grown from the logits, \
             are the circuit. Everything below was measured on held-out pairs. A cut edge brings {ablation}.",
            method_in_words(method)
        ),
    }));
    blocks.push(picture_note(
        "The diagram runs from the prompt at the top to the answer at the bottom: a is an attention head (layer and number), \
         m the MLP of a layer; small letters say whether a head's query, key or value reads the edge.",
    ));
    Some(blocks)
}

/// Every population's circuit, and what became of it.
pub(in crate::report) fn by_population(
    circuits: &[CircuitRecord],
    changes: &[NamedChange<'_>],
    base: &str,
) -> Vec<Block> {
    let populations = distinct(
        circuits
            .iter()
            .map(|circuit| circuit.population.as_str())
            .chain(changes.iter().map(|(_, change)| change.population.as_str())),
    );
    let mut blocks = Vec::new();
    for population in populations {
        blocks.push(Block::Heading(capitalised(&population_in_words(population))));
        if let Some(circuit) = circuits.iter().find(|circuit| circuit.population == population) {
            blocks.extend(of_circuit(circuit));
        }
        let own: Vec<&NamedChange<'_>> = changes.iter().filter(|(_, change)| change.population == population).collect();
        blocks.extend(change_table(&own, base).map(Block::Table));
    }
    blocks
}

fn of_circuit(circuit: &CircuitRecord) -> Vec<Block> {
    let mut blocks = vec![summary(circuit)];
    if circuit.same_pairs {
        let line = "The circuit was measured on the pairs that it was chosen on, so its numbers are too good.";
        blocks.push(Block::Callout(Tone::Unsure, vec![text(line)]));
    }
    let mut figures = Vec::new();
    if !circuit.edges.is_empty() {
        figures.push(Figure::Pathway(diagram(circuit)));
    }
    figures.extend(chart(circuit).map(Figure::Chart));
    blocks.push(Block::Figures(figures));
    blocks.extend(areas(&circuit.curves).map(Block::Table));
    blocks.extend(evidence(circuit).map(Block::Table));
    blocks.extend(missed(circuit));
    let mut more = Vec::new();
    more.extend(sizes(&circuit.curves).map(Block::Table));
    more.extend(edge_effects(circuit).map(Block::Table));
    more.extend(ablations(circuit).map(Block::Table));
    if !more.is_empty() {
        blocks.push(Block::Details("Every size, and single edges".to_owned(), more));
    }
    blocks
}

fn summary(circuit: &CircuitRecord) -> Block {
    let CircuitEvaluation { edges, total, faithfulness, complement_faithfulness, .. } = &circuit.report.evaluation;
    let size = format!("{edges} of {} edges", number::count(circuit.decoder_edges));
    let pairs = circuit.report.pairs;
    let line = match faithfulness.value {
        Some(_) => vec![
            strong(format!("{size} carry {} of the effect", number::in_full(faithfulness, "share"))),
            text(format!(
                " of {} on {pairs} pairs; the model without them carries {}.",
                number::in_full(total, "nats"),
                number::in_full(complement_faithfulness, "share")
            )),
        ],
        None => vec![
            strong(format!("{size} were taken, and no share can be given")),
            text(format!(": {} ({pairs} pairs).", number::reason(faithfulness))),
        ],
    };
    Block::Paragraph(line)
}

fn diagram(circuit: &CircuitRecord) -> PathwayDiagram {
    let of = circuit.report.evaluation.edges;
    let edges: Vec<_> = circuit.edges.iter().take(DRAWN).cloned().collect();
    let what = if circuit.edges.len() > DRAWN {
        format!("the strongest {DRAWN} of its {of} edges")
    } else {
        "all its edges".to_owned()
    };
    PathwayDiagram { caption: format!("Pathway diagram: {what}, by score"), edges, of }
}

/// Faithfulness over size; nothing where a circuit from a file has no curve and no random circuits beside it.
fn chart(circuit: &CircuitRecord) -> Option<Chart> {
    let line = |curve: &FaithfulnessCurve| ChartLine {
        label: ranked(curve.ranking).to_owned(),
        style: if curve.ranking == Ranking::Signed { 4 } else { 5 },
        points: curve.points.iter().map(|point| (point.fraction, point.faithfulness.clone())).collect(),
    };
    let evaluation = &circuit.report.evaluation;
    let size = evaluation.edges as f64 / circuit.decoder_edges.max(1) as f64;
    let mut lines: Vec<ChartLine> = circuit.curves.iter().map(line).collect();
    lines.push(ChartLine {
        label: "this circuit".to_owned(),
        style: 2,
        points: vec![(size, evaluation.faithfulness.clone())],
    });
    let random = circuit.report.judgement.as_ref().map(|judgement| ChartMarks {
        label: "random circuits of its size".to_owned(),
        x: size,
        values: judgement.random.faithfulness.iter().flatten().copied().collect(),
    });
    if circuit.curves.is_empty() && random.is_none() {
        return None;
    }
    Some(Chart {
        caption: "Faithfulness over size".to_owned(),
        axes: ("share of edges".to_owned(), "faithfulness".to_owned()),
        spread: Spread::Logarithmic,
        ideal: Ideal::Level(1.0),
        lines,
        marks: random.into_iter().collect(),
    })
}

fn missed(circuit: &CircuitRecord) -> Option<Block> {
    circuit.missed.as_ref().map(|statement| paragraph(format!("What the scores may have missed: {statement}.")))
}

fn method_in_words(method: &str) -> &str {
    match method {
        "eap" => "edge attribution patching (the gradient on the clean prompt)",
        "eap_ig_inputs" => "EAP-IG (edge attribution patching, gradients integrated over the input embeddings)",
        "eap_ig_activations" => "EAP-IG over activations",
        "clean_corrupted" => "edge attribution patching (gradients of both prompts)",
        "information_flow" => "information-flow routes",
        other => other,
    }
}

fn ablation_in_words(ablation: &str) -> &str {
    match ablation {
        "counterfactual" => "what it carries on the pair's other prompt",
        "zero" => "nothing",
        "mean" => "its mean over prompts and positions",
        "mean_positional" => "its mean over prompts at the same position",
        other => other,
    }
}
