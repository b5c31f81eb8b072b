//! BIF: discrete networks with their tables.
//!
//! `variable X { type discrete [ 2 ] { yes, no }; }` and `probability ( X | A, B ) { (a, b) 0.2, 0.8; }`, or `table` with
//! all numbers, the child's values running fastest, or `default` for rows that are not listed.

use super::tokens::Cursor;
use super::{Document, FormatError};
use crate::causal::graph::Graph;
use crate::causal::network::Network;
use crate::causal::node::{GraphError, Role, Visibility};

/// One `probability` block.
struct Block {
    child: usize,
    parents: Vec<usize>,
    rows: Vec<Option<Vec<f64>>>,
}

pub(super) fn read(text: &str) -> Result<Document, FormatError> {
    let mut cursor = Cursor::new(text)?;
    let mut graph = Graph::new();
    let (mut values, mut blocks) = (Vec::new(), Vec::new());
    while cursor.peek().is_some() {
        match cursor.word("`variable` or `probability`")?.as_str() {
            "network" => {
                while !cursor.take("{") {
                    cursor.word("the network's name or `{`")?;
                }
                skip_properties(&mut cursor)?;
            }
            "variable" => values.push(variable(&mut cursor, &mut graph)?),
            "probability" => blocks.push(probability(&mut cursor, &graph, &values)?),
            other => {
                return Err(cursor.error(&format!("`network`, `variable` or `probability` instead of `{other}`")));
            }
        }
    }
    let mut parents = vec![None; graph.len()];
    let mut tables = vec![Vec::new(); graph.len()];
    for Block { child, parents: given, rows } in blocks {
        for &parent in &given {
            graph.add_edge(parent, child)?;
        }
        let missing = || FormatError::Key {
            place: format!("probability of {}", graph.name(child)),
            message: "some combinations of the parents' values have no row: list them, or give a `default`".into(),
        };
        if let Some(slot) = tables.get_mut(child) {
            *slot = rows.into_iter().collect::<Option<Vec<_>>>().ok_or_else(missing)?;
        }
        let place = parents.get_mut(child);
        if place.as_ref().is_some_and(|place| place.is_some()) {
            let message = "it is given twice: remove one of the two".into();
            return Err(FormatError::Key { place: format!("probability of {}", graph.name(child)), message });
        }
        place.into_iter().for_each(|place| *place = Some(given.clone()));
    }
    graph.topological_order()?;
    if let Some(orphan) = parents.iter().position(Option::is_none) {
        let place = format!("variable {}", graph.name(orphan));
        return Err(FormatError::Key { place, message: "it has no `probability` block: add one".into() });
    }
    let parents = parents.into_iter().flatten().collect();
    let network = Network::new(graph.clone(), values, parents, tables)?;
    Ok(Document { graph, network: Some(network), ..Document::default() })
}

fn skip_properties(cursor: &mut Cursor) -> Result<(), FormatError> {
    while !cursor.take("}") {
        if cursor.next().is_none() {
            return Err(cursor.error("`}`"));
        }
    }
    Ok(())
}

fn variable(cursor: &mut Cursor, graph: &mut Graph) -> Result<Vec<String>, FormatError> {
    let name = cursor.word("a variable's name")?;
    graph.add_node(&name, Role::Plain, Visibility::Observed)?;
    cursor.expect("{")?;
    let mut values = Vec::new();
    while !cursor.take("}") {
        if cursor.take_word("property") {
            while !cursor.take(";") {
                cursor.next().ok_or_else(|| cursor.error("`;`"))?;
            }
            continue;
        }
        if !cursor.take_word("type") || !cursor.take_word("discrete") {
            return Err(cursor.error("`type discrete`"));
        }
        cursor.expect("[")?;
        let count = cursor.word("the number of values")?;
        cursor.expect("]")?;
        cursor.expect("{")?;
        while !cursor.take("}") {
            if !cursor.take(",") {
                values.push(cursor.word("a value or `}`")?);
            }
        }
        cursor.take(";");
        if count.parse() != Ok(values.len()) {
            let message = format!("{} values are listed, but the type says {count}", values.len());
            return Err(FormatError::Key { place: format!("variable {name}"), message });
        }
    }
    Ok(values)
}

fn probability(cursor: &mut Cursor, graph: &Graph, values: &[Vec<String>]) -> Result<Block, FormatError> {
    cursor.expect("(")?;
    let child = graph.id(&cursor.word("a variable")?)?;
    let mut parents = Vec::new();
    if cursor.take("|") {
        while !cursor.take(")") {
            if !cursor.take(",") {
                parents.push(graph.id(&cursor.word("a parent or `)`")?)?);
            }
        }
    } else {
        cursor.expect(")")?;
    }
    cursor.expect("{")?;
    let count = |node: &usize| values.get(*node).map_or(0, Vec::len);
    let size = count(&child);
    let mut rows: Vec<Option<Vec<f64>>> = vec![None; parents.iter().map(count).product()];
    while !cursor.take("}") {
        if cursor.take_word("table") {
            let all = numbers(cursor)?;
            if all.len() != size * rows.len() {
                let wanted = format!("{} numbers instead of {}", size * rows.len(), all.len());
                return Err(cursor.error(&wanted));
            }
            rows.iter_mut().zip(all.chunks(size.max(1))).for_each(|(row, chunk)| *row = Some(chunk.to_vec()));
        } else if cursor.take_word("default") {
            let row = numbers(cursor)?;
            rows.iter_mut().filter(|slot| slot.is_none()).for_each(|slot| *slot = Some(row.clone()));
        } else {
            let at = row_index(cursor, &parents, graph, values)?;
            let row = numbers(cursor)?;
            rows.iter_mut().skip(at).take(1).for_each(|slot| *slot = Some(row.clone()));
        }
    }
    Ok(Block { child, parents, rows })
}

/// `(value, value)`: the row's place, the last parent running fastest.
fn row_index(
    cursor: &mut Cursor,
    parents: &[usize],
    graph: &Graph,
    values: &[Vec<String>],
) -> Result<usize, FormatError> {
    cursor.expect("(")?;
    let mut at = 0;
    for (place, &parent) in parents.iter().enumerate() {
        if place > 0 {
            cursor.expect(",")?;
        }
        let value = cursor.word("a parent's value")?;
        let known = values.get(parent).map_or(&[][..], Vec::as_slice);
        let index = known.iter().position(|other| *other == value).ok_or_else(|| GraphError::UnknownNode {
            name: format!("{}={value}", graph.name(parent)),
            suggestion: None,
        })?;
        at = at * known.len() + index;
    }
    cursor.expect(")")?;
    Ok(at)
}

fn numbers(cursor: &mut Cursor) -> Result<Vec<f64>, FormatError> {
    let mut found = Vec::new();
    while !cursor.take(";") {
        if !cursor.take(",") {
            let word = cursor.word("a probability or `;`")?;
            found.push(word.parse().map_err(|_| cursor.error(&format!("a number instead of `{word}`")))?);
        }
    }
    Ok(found)
}

pub(super) fn write(document: &Document) -> Result<String, FormatError> {
    let refuse = |message: &str| FormatError::Key { place: "BIF".into(), message: message.into() };
    let network = document.network.as_ref().ok_or_else(|| refuse("the graph has no tables: write TOML or dagitty"))?;
    if !document.graph.bidirected().is_empty() {
        return Err(refuse("it cannot hold bidirected edges: write TOML or dagitty"));
    }
    let graph = network.graph();
    let mut text = String::from("network unknown {\n}\n");
    for node in 0..graph.len() {
        let values = network.values(node);
        text.push_str(&format!(
            "variable {} {{\n  type discrete [ {} ] {{ {} }};\n}}\n",
            graph.name(node),
            values.len(),
            values.join(", ")
        ));
    }
    for node in 0..graph.len() {
        let parents: Vec<&str> = network.parents(node).iter().map(|&parent| graph.name(parent)).collect();
        let bar = if parents.is_empty() { String::new() } else { format!(" | {}", parents.join(", ")) };
        text.push_str(&format!("probability ( {}{bar} ) {{\n", graph.name(node)));
        for (key, row) in network.rows(node) {
            let numbers = row.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let key = if key.is_empty() { "table".to_owned() } else { format!("({})", key.join(", ")) };
            text.push_str(&format!("  {key} {numbers};\n"));
        }
        text.push_str("}\n");
    }
    Ok(text)
}
