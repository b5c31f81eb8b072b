//! `circuit`'s drawings and pages.

use anyhow::Result;
use counterpath::base::files;
use counterpath::mediate::circuit::{CircuitFile, Discovery, FaithfulnessCurve};
use counterpath::pipeline::circuits::KEPT_EDGES;
use counterpath::record::{CircuitChange, CircuitRecord};
use counterpath::report::{CircuitFigure, CircuitPage, FaithfulnessLine};

use super::super::circuit_args::PageArgs;

/// The drawing of a discovery, for a file.
pub(super) fn figure(found: &Discovery, file: &CircuitFile) -> CircuitFigure {
    let line = |curve: &FaithfulnessCurve, label: &str| FaithfulnessLine {
        label: label.to_owned(),
        points: curve.points.iter().filter_map(|point| Some((point.fraction, point.faithfulness.value?))).collect(),
    };
    let labels = ["by signed score", "by absolute score"];
    let title = format!("{} of {} edges, {}", found.realised, found.decoder_edges, found.attribution.method.name());
    let lines = found.curves.iter().zip(labels).map(|(curve, label)| line(curve, label));
    CircuitFigure { title, edges: file.strongest(KEPT_EDGES), lines: lines.collect() }
}

impl PageArgs {
    /// Writes what was asked for.
    pub(super) fn write(&self, page: &CircuitPage) -> Result<()> {
        if let Some(path) = &self.html {
            files::write_atomic(path, page.html().as_bytes())?;
        }
        if let Some(path) = &self.markdown {
            files::write_atomic(path, page.markdown().as_bytes())?;
        }
        Ok(())
    }
}

/// A page with the command that makes it again.
pub(super) fn page(
    title: &str,
    model: &str,
    circuits: Vec<CircuitRecord>,
    changes: Vec<(String, CircuitChange)>,
) -> CircuitPage {
    CircuitPage { title: title.to_owned(), model: model.to_owned(), circuits, changes, command: super::command() }
}
