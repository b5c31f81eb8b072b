//! `discover`: graphs that agree with the independences of a table. Proposals, never a declared graph.

use anyhow::{Result, bail};
use counterpath::base::Seed;
use counterpath::causal::Table;
use counterpath::causal::discover::{
    Background, Bdeu, ChiSquare, Colliders, DiscoverError, FisherZ, GaussianBic, Independence, Kernel, Pattern,
    Statistic, fci, ges, lingam, pc, stability,
};
use serde_json::json;

use super::super::causal_args::Discover;
use super::identify::{read_graph, read_table};
use super::{Format, print_json};

/// Searches, and says how sure each edge is.
pub fn run(args: &Discover, format: Format) -> Result<()> {
    let table = read_table(&args.data, args.drop_missing)?;
    let names = if args.columns.is_empty() { table.names().to_vec() } else { args.columns.clone() };
    let background = background(args, &names)?;
    if args.method == "lingam" {
        return linear(args, &table, &names, &background, format);
    }
    let method = Method::read(args)?;
    let pattern = method.search(&table, &names, args.alpha, &background)?;
    let again = |table: &Table| method.search(table, &names, args.alpha, &background);
    let frequencies = match args.resamples {
        0 => Vec::new(),
        resamples => stability(&table, resamples, Seed::new(args.seed), &again)?,
    };
    let edges: Vec<String> = pattern.edges().into_iter().map(|(a, b)| pattern.edge_text(a, b)).collect();
    let distance = match &args.truth {
        None => None,
        Some(path) => {
            let truth = Pattern::of_dag(&read_graph(path)?.graph);
            if truth.names() != names {
                bail!(
                    "the graph's variables are not the table's columns in their order: give --columns {}",
                    truth.names().join(",")
                );
            }
            Some(pattern.distance(&truth))
        }
    };
    if format == Format::Json {
        return print_json(&json!({
            "method": args.method, "variables": names, "edges": edges, "stability": frequencies,
            "distance": distance, "shd": distance.map(|distance| distance.shd()),
        }));
    }
    println!(
        "{} edges among {} variables (a proposal: what the data do not tell stays open)",
        edges.len(),
        names.len()
    );
    for (edge, (a, b)) in edges.iter().zip(pattern.edges()) {
        let name = |node: usize| names.get(node).map_or("", String::as_str);
        match frequencies.iter().find(|found| found.a == name(a) && found.b == name(b)) {
            Some(found) => println!("  {edge:40} joined in {:.0} % of resamples", 100.0 * found.adjacent),
            None => println!("  {edge}"),
        }
    }
    if let Some(distance) = distance {
        println!(
            "against the truth: {} missing, {} extra, {} otherwise directed (distance {})",
            distance.missing,
            distance.extra,
            distance.orientation,
            distance.shd()
        );
    }
    Ok(())
}

fn linear(args: &Discover, table: &Table, names: &[String], background: &Background, format: Format) -> Result<()> {
    let found = lingam(table, names, args.alpha, background)?;
    let name = |node: &usize| names.get(*node).cloned().unwrap_or_default();
    let order: Vec<String> = found.order.iter().map(name).collect();
    if format == Format::Json {
        let effects =
            found.effects.iter().map(|(a, b, effect)| json!({"from": name(a), "to": name(b), "coefficient": effect}));
        return print_json(&json!({"method": "lingam", "order": order, "effects": effects.collect::<Vec<_>>()}));
    }
    println!("order: {} (a proposal, under linear effects and noise that is not normal)", order.join(", "));
    for (a, b, effect) in &found.effects {
        println!("  {} → {}  {effect:.4}", name(a), name(b));
    }
    Ok(())
}

fn background(args: &Discover, names: &[String]) -> Result<Background> {
    let place = |name: &str| match names.iter().position(|other| other == name.trim()) {
        Some(place) => Ok(place),
        None => Err(DiscoverError::Unknown(name.trim().to_owned())),
    };
    let mut background = Background::default();
    for (tier, members) in args.tiers.iter().enumerate() {
        for name in members.split(',').filter(|name| !name.trim().is_empty()) {
            if background.tiers.insert(place(name)?, tier).is_some() {
                bail!("`{}` stands in two tiers: leave it in one", name.trim());
            }
        }
    }
    for (edges, set) in [(&args.forbid, &mut background.forbidden), (&args.require, &mut background.required)] {
        for edge in edges {
            let Some((from, to)) = edge.split_once("->") else { bail!("`{edge}` is no edge: write x -> y") };
            set.insert((place(from)?, place(to)?));
        }
    }
    Ok(background)
}

/// What is run.
enum Method {
    Pc(Colliders, String),
    Fci(String),
    Ges(String),
}

impl Method {
    fn read(args: &Discover) -> Result<Self> {
        let test = |default: &str| args.test.clone().unwrap_or_else(|| default.to_owned());
        let method = match args.method.as_str() {
            "pc" => Self::Pc(Colliders::SeparatingSet, test("fisher-z")),
            "pc-conservative" => Self::Pc(Colliders::Conservative, test("fisher-z")),
            "fci" => Self::Fci(test("fisher-z")),
            "ges" => Self::Ges(test("bic")),
            other => bail!("there is no method `{other}`: it is one of pc, pc-conservative, fci, ges, lingam"),
        };
        let known: &[&str] = match method {
            Self::Ges(_) => &["bic", "bdeu"],
            _ => &["fisher-z", "chi-square", "g", "kernel"],
        };
        let (Self::Pc(_, test) | Self::Fci(test) | Self::Ges(test)) = &method;
        match known.contains(&test.as_str()) {
            true => Ok(method),
            false => bail!("--test `{test}` does not go with {}: it is one of {}", args.method, known.join(", ")),
        }
    }

    fn search(
        &self,
        table: &Table,
        names: &[String],
        alpha: f64,
        known: &Background,
    ) -> Result<Pattern, DiscoverError> {
        match self {
            Self::Pc(colliders, name) => pc(test(name, table, names)?.as_ref(), alpha, *colliders, known),
            Self::Fci(name) => fci(test(name, table, names)?.as_ref(), alpha, known),
            Self::Ges(name) if name == "bdeu" => ges(&Bdeu::new(table, names, 1.0)?, known),
            Self::Ges(_) => ges(&GaussianBic::new(table, names)?, known),
        }
    }
}

fn test(name: &str, table: &Table, names: &[String]) -> Result<Box<dyn Independence>, DiscoverError> {
    Ok(match name {
        "chi-square" => Box::new(ChiSquare::new(table, names, Statistic::ChiSquare)?),
        "g" => Box::new(ChiSquare::new(table, names, Statistic::G)?),
        "kernel" => Box::new(Kernel::new(table, names)?),
        _ => Box::new(FisherZ::new(table, names)?),
    })
}
