//! Text set in columns that fit a width.

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text: to the left, wrapped where the terminal is narrow.
    Left,
    /// Numbers: to the right, never wrapped.
    Right,
}

/// A text column is not made narrower than this.
const NARROWEST: usize = 12;
const GAP: usize = 2;

/// A table with headings. Rows may be shorter than the headings.
pub fn table(heads: &[(&str, Align)], rows: &[Vec<String>], width: usize) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|(head, _)| length(head)).collect();
    for (own, cell) in rows.iter().flat_map(|row| widths_of(row)) {
        if let Some(widest) = widths.get_mut(own) {
            *widest = (*widest).max(cell);
        }
    }
    fit(&mut widths, heads, width);
    let mut out = String::new();
    push_row(&mut out, &heads.iter().map(|(head, _)| (*head).to_owned()).collect::<Vec<_>>(), heads, &widths);
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    push_row(&mut out, &rule, heads, &widths);
    rows.iter().for_each(|row| push_row(&mut out, row, heads, &widths));
    out
}

/// Names and values below each other, such as what `inspect` says of a model. Long values wrap under themselves.
pub fn properties(pairs: &[(String, String)], width: usize) -> String {
    let names = pairs.iter().map(|(name, _)| length(name)).max().unwrap_or(0);
    let room = width.saturating_sub(names + GAP).max(NARROWEST);
    let mut out = String::new();
    for (name, value) in pairs {
        for (index, line) in wrap(value, room).into_iter().enumerate() {
            let name = if index == 0 { name.as_str() } else { "" };
            out.push_str(&format!("{}{}", pad(name, names + GAP, Align::Left), line));
            out.push('\n');
        }
    }
    out
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn widths_of(row: &[String]) -> impl Iterator<Item = (usize, usize)> + '_ {
    row.iter().enumerate().map(|(index, cell)| (index, length(cell)))
}

/// Narrows the widest text columns, a character at a time, until the table fits or nothing is left to take.
fn fit(widths: &mut [usize], heads: &[(&str, Align)], width: usize) {
    while widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1) > width {
        let text = widths.iter_mut().zip(heads).filter(|(own, (_, align))| *align == Align::Left && **own > NARROWEST);
        match text.max_by_key(|(own, _)| **own) {
            Some((own, _)) => *own -= 1,
            None => break,
        }
    }
}

fn push_row(out: &mut String, row: &[String], heads: &[(&str, Align)], widths: &[usize]) {
    let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        let mut text = String::new();
        for (index, ((_, align), width)) in heads.iter().zip(widths).enumerate() {
            let part = cells.get(index).and_then(|cell| cell.get(line)).map(String::as_str).unwrap_or_default();
            if index > 0 {
                text.push_str("  ");
            }
            text.push_str(&pad(part, *width, *align));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
}

/// A paragraph behind a lead, continued under itself.
pub(super) fn push_wrapped(out: &mut String, lead: &str, text: &str, width: usize) {
    for (index, line) in wrap(text, width.saturating_sub(length(lead)).max(NARROWEST)).iter().enumerate() {
        let lead = if index == 0 { lead.to_owned() } else { " ".repeat(length(lead)) };
        out.push_str(format!("{lead}{line}").trim_end());
        out.push('\n');
    }
}

fn pad(text: &str, width: usize, align: Align) -> String {
    let space = " ".repeat(width.saturating_sub(length(text)));
    match align {
        Align::Left => format!("{text}{space}"),
        Align::Right => format!("{space}{text}"),
    }
}

/// Lines of at most `width` characters, broken after spaces and, in long identifiers, after `.`, `/` or `_` or anywhere.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width {
        let breaks = |c: &char| matches!(c, ' ' | '.' | '/' | '_' | '@' | '-');
        let space = rest.get(..=width).and_then(|head| head.iter().rposition(|c| *c == ' ')).map(|at| at + 1);
        let soft = || rest.get(..width).and_then(|head| head.iter().rposition(breaks)).map(|at| at + 1);
        let cut = space.or_else(soft).filter(|cut| *cut > 0).unwrap_or(width).min(rest.len());
        let tail = rest.split_off(cut);
        lines.push(rest.iter().collect::<String>().trim_end().to_owned());
        rest = tail;
    }
    lines.push(rest.into_iter().collect());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_its_width_and_loses_nothing() {
        let heads = [("metric", Align::Left), ("population", Align::Left), ("value", Align::Right)];
        let rows = vec![
            vec![
                "fairness.counterfactual_gap@log_odds".to_owned(),
                "hiring/shifted/paraphrase".to_owned(),
                "-12.34".to_owned(),
            ],
            vec!["accuracy.exact".to_owned(), "hiring".to_owned(), "0.5".to_owned()],
        ];
        let wide = table(&heads, &rows, 100);
        assert_eq!(wide.lines().count(), 4);
        let narrow = table(&heads, &rows, 44);
        assert!(narrow.lines().all(|line| length(line) <= 44), "{narrow}");
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
        assert_eq!(letters(&narrow), letters(&wide));
        assert!(narrow.contains("-12.34"));
    }

    #[test]
    fn wrapping_prefers_spaces_and_ends() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a.bc.def", 5), ["a.bc.", "def"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
