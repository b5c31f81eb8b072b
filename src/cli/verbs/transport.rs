//! `transport`: whether an effect of one domain follows from data and experiments of several.

use anyhow::{Context, Result, bail};
use counterpath::causal::transport::transport;
use counterpath::causal::{Asked, Graph, NodeSet, Query, Source, Transport as Verdict};
use serde_json::json;

use super::super::causal_args::Transport;
use super::identify::read_graph;
use super::{Format, print_json};

/// Answers the question.
pub fn run(args: &Transport, format: Format) -> Result<()> {
    let graph = read_graph(&args.graph)?.graph.project();
    let asked = Asked::parse(&args.query)?;
    let ids = |names: &[String]| graph.ids(names.iter().map(String::as_str));
    let query =
        Query { outcomes: ids(&asked.outcomes)?, treatments: ids(&asked.treatments)?, given: ids(&asked.given)? };
    let mut sources = args.sources.iter().map(|text| source(text, &graph)).collect::<Result<Vec<_>>>()?;
    // What differs in a domain differs for all of its data.
    for domain in sources.iter().map(|source| source.domain).collect::<Vec<_>>() {
        let own = sources.iter().filter(|source| source.domain == domain);
        let differs = own.fold(NodeSet::EMPTY, |all, source| all | source.differs);
        sources.iter_mut().filter(|source| source.domain == domain).for_each(|source| source.differs = differs);
    }
    match transport(&graph, query, &sources)? {
        Verdict::Transportable { estimand, .. } => match format {
            Format::Json => print_json(&json!({
                "query": asked.text(), "transportable": true, "estimand": estimand.text(&graph),
                "latex": estimand.latex(&graph), "tree": estimand.json(&graph),
            })),
            Format::Text => {
                println!("{} = {}", asked.text(), estimand.text(&graph));
                println!("  (P¹ is domain 1's distribution; without a number it is that of the domain asked about)");
                Ok(())
            }
        },
        Verdict::Refused { district, reasons } => {
            let needed = graph.names(district);
            let told: Vec<String> = args
                .sources
                .iter()
                .zip(&reasons)
                .map(|(source, why)| format!("{source}: {}", why.text(&graph)))
                .collect();
            match format {
                Format::Json => print_json(&json!({
                    "query": asked.text(), "transportable": false, "missing": needed, "reasons": told,
                })),
                Format::Text => {
                    println!("{}: not transportable; no source tells how {} respond", asked.text(), needed.join(", "));
                    told.iter().for_each(|line| println!("  {line}"));
                    Ok(())
                }
            }
        }
    }
}

/// `domain=1 do=x,w differs=z`.
fn source(text: &str, graph: &Graph) -> Result<Source> {
    let mut source = Source { domain: 0, experiment: NodeSet::EMPTY, differs: NodeSet::EMPTY };
    for part in text.split_whitespace() {
        let names = |list: &str| graph.ids(list.split(',').filter(|name| !name.is_empty()));
        match part.split_once('=') {
            Some(("domain", number)) => {
                source.domain = number.parse().with_context(|| format!("`{part}`: a domain is a whole number"))?;
            }
            Some(("do", list)) => source.experiment = names(list)?,
            Some(("differs", list)) => source.differs = names(list)?,
            _ => bail!("`{part}` is none of domain=N, do=NAMES, differs=NAMES"),
        }
    }
    match source.domain == 0 && !source.differs.is_empty() {
        true => bail!("`{text}`: domain 0 is the one asked about; nothing differs there from itself"),
        false => Ok(source),
    }
}
