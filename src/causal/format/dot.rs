//! dagitty's text and DOT: the same statements with other attributes.
//!
//! dagitty: `X [exposure]`, `Y [outcome]`, `U [latent]`, `C [selected]` (or `adjusted`), `A -> B <- C`, `A <-> B`,
//! `A -> { B C }`. DOT: `A -> B [dir=both]` or `style=dashed` without an arrow is a bidirected edge, `U [latent=yes]`
//! or `observed=no` a latent node; all other attributes are for drawing and are skipped.

use super::tokens::{Cursor, Token};
use super::{Document, FormatError};
use crate::causal::node::Visibility;
use crate::causal::node_set::NodeSet;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Dagitty,
    Dot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrow {
    Right,
    Left,
    Both,
}

pub(super) fn read(text: &str, dialect: Dialect) -> Result<Document, FormatError> {
    let mut cursor = Cursor::new(text)?;
    header(&mut cursor, dialect)?;
    let mut document = Document::default();
    while !cursor.take("}") {
        if cursor.peek().is_none() {
            return Err(cursor.error("`}`"));
        }
        if !cursor.take(";") {
            statement(&mut cursor, &mut document, dialect)?;
        }
    }
    match cursor.peek() {
        None => Ok(document),
        Some(_) => Err(cursor.error("nothing more")),
    }
}

fn header(cursor: &mut Cursor, dialect: Dialect) -> Result<(), FormatError> {
    match dialect {
        Dialect::Dagitty if cursor.take_word("dag") => {}
        Dialect::Dagitty => {
            return Err(cursor.error("`dag` (mag, pag and pdag describe classes of graphs, which are not read)"));
        }
        Dialect::Dot => {
            cursor.take_word("strict");
            if !cursor.take_word("digraph") {
                return Err(cursor.error("`digraph` (an undirected graph has no causes)"));
            }
        }
    }
    if matches!(cursor.peek(), Some(Token::Word(_))) {
        cursor.next();
    }
    cursor.expect("{")
}

/// `a -> b <- c [attributes]`, `a [attributes]`, or `key = value` for the whole graph.
fn statement(cursor: &mut Cursor, document: &mut Document, dialect: Dialect) -> Result<(), FormatError> {
    let chain = operand(cursor, document)?;
    if cursor.take("=") {
        cursor.word("a value")?;
        return Ok(());
    }
    let mut steps = Vec::new();
    let mut last = chain.clone();
    while let Some(arrow) = arrow(cursor)? {
        let next = operand(cursor, document)?;
        steps.push((last, arrow, next.clone()));
        last = next;
    }
    let attributes = attributes(cursor)?;
    let given = |key: &str, values: &[&str]| {
        attributes.iter().any(|(k, v)| k == key && (values.is_empty() || values.contains(&v.as_str())))
    };
    let both = dialect == Dialect::Dot && given("dir", &["both"]);
    for (left, arrow, right) in &steps {
        for a in left.iter() {
            for b in right.iter() {
                connect(document, a, if both { &Arrow::Both } else { arrow }, b)?;
            }
        }
    }
    if steps.is_empty() {
        mark(document, &chain, dialect, &given)?;
    }
    Ok(())
}

fn connect(document: &mut Document, a: &str, arrow: &Arrow, b: &str) -> Result<(), FormatError> {
    let (a, b) = (document.node(a)?, document.node(b)?);
    match arrow {
        Arrow::Right => document.graph.add_edge(a, b)?,
        Arrow::Left => document.graph.add_edge(b, a)?,
        Arrow::Both => document.graph.add_bidirected(a, b)?,
    }
    Ok(())
}

fn mark(
    document: &mut Document,
    names: &[String],
    dialect: Dialect,
    given: &impl Fn(&str, &[&str]) -> bool,
) -> Result<(), FormatError> {
    let keyword = |name: &String| {
        dialect == Dialect::Dot && ["node", "edge", "graph"].contains(&name.as_str())
            || dialect == Dialect::Dagitty && name == "bb"
    };
    for name in names.iter().filter(|name| !keyword(name)) {
        let node = document.node(name)?;
        let one = NodeSet::one(node);
        let yes = ["", "yes", "true", "1"];
        let latent = given("latent", &yes) || given("unobserved", &yes) || given("observed", &["no", "false", "0"]);
        if latent || given("u", &yes) {
            document.graph.set_visibility(node, Visibility::Latent);
        }
        for (keys, marked) in [
            (["exposure", "e"], &mut document.exposures),
            (["outcome", "o"], &mut document.outcomes),
            (["selected", "adjusted"], &mut document.selected),
            (["differs", "s"], &mut document.differs),
        ] {
            if keys.iter().any(|key| given(key, &yes)) {
                *marked |= one;
            }
        }
    }
    Ok(())
}

/// One name, or the names of a group `{ a b }`.
fn operand(cursor: &mut Cursor, document: &mut Document) -> Result<Vec<String>, FormatError> {
    if !cursor.take("{") {
        return Ok(vec![cursor.word("a name")?]);
    }
    let mut names = Vec::new();
    while !cursor.take("}") {
        if !cursor.take(",") && !cursor.take(";") {
            let name = cursor.word("a name or `}`")?;
            document.node(&name)?;
            names.push(name);
        }
    }
    Ok(names)
}

fn arrow(cursor: &mut Cursor) -> Result<Option<Arrow>, FormatError> {
    Ok(Some(match cursor.peek() {
        Some(Token::Sign("->")) => Arrow::Right,
        Some(Token::Sign("<-")) => Arrow::Left,
        Some(Token::Sign("<->")) => Arrow::Both,
        Some(Token::Sign("--" | "@-@" | "@->" | "<-@" | "@-" | "-@")) => {
            return Err(cursor.error("`->`, `<-` or `<->` (an edge whose direction is open is no causal graph)"));
        }
        _ => return Ok(None),
    })
    .inspect(|_| {
        cursor.next();
    }))
}

/// `[key, key=value …]`; several brackets add up.
fn attributes(cursor: &mut Cursor) -> Result<Vec<(String, String)>, FormatError> {
    let mut found = Vec::new();
    while cursor.take("[") {
        while !cursor.take("]") {
            if cursor.take(",") || cursor.take(";") {
                continue;
            }
            let key = cursor.word("an attribute or `]`")?;
            let value = if cursor.take("=") { cursor.word("a value")? } else { String::new() };
            found.push((key, value));
        }
    }
    Ok(found)
}

pub(super) fn write(document: &Document, dialect: Dialect) -> String {
    let graph = &document.graph;
    let mut text = String::from(if dialect == Dialect::Dagitty { "dag {\n" } else { "digraph {\n" });
    let name = |node: usize| quote(graph.name(node));
    for node in 0..graph.len() {
        let latent = !graph.observed().contains(node);
        let marks = [
            (latent, "latent"),
            (document.exposures.contains(node), "exposure"),
            (document.outcomes.contains(node), "outcome"),
            (document.selected.contains(node), "selected"),
            (document.differs.contains(node), "differs"),
        ];
        let marks: Vec<String> = marks
            .into_iter()
            .filter(|(there, _)| *there)
            .map(|(_, mark)| if dialect == Dialect::Dot { format!("{mark}=yes") } else { mark.to_owned() })
            .collect();
        let marks = if marks.is_empty() { String::new() } else { format!(" [{}]", marks.join(",")) };
        text.push_str(&format!("  {}{marks}\n", name(node)));
    }
    for (from, to) in graph.edges() {
        text.push_str(&format!("  {} -> {}\n", name(from), name(to)));
    }
    for (a, b) in graph.bidirected() {
        text.push_str(&match dialect {
            Dialect::Dagitty => format!("  {} <-> {}\n", name(a), name(b)),
            Dialect::Dot => format!("  {} -> {} [dir=both]\n", name(a), name(b)),
        });
    }
    text.push_str("}\n");
    text
}

fn quote(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty();
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")) }
}
