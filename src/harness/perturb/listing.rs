//! Options as they are listed before the answer: `A. red`, one a line.

/// A style of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Dot,
    Bracket,
    Brackets,
    Colon,
}

impl Style {
    pub const ALL: [Self; 4] = [Self::Brackets, Self::Dot, Self::Bracket, Self::Colon];

    /// A label in this style.
    pub fn dressed(self, label: &str) -> String {
        match self {
            Self::Dot => format!("{label}."),
            Self::Bracket => format!("{label})"),
            Self::Brackets => format!("({label})"),
            Self::Colon => format!("{label}:"),
        }
    }
}

/// The last list of options in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    /// What stands before the first label.
    pub before: String,
    /// What stands behind the last option, from its line break on.
    pub after: String,
    /// How labels are written.
    pub style: Style,
    /// The labels, `A`, `B`, …, or `1`, `2`, ….
    pub labels: Vec<String>,
    /// The options' texts, in their order.
    pub options: Vec<String>,
}

impl Listing {
    /// The last list in a text with `count` options, or with as many as there are where that is `None`.
    pub fn of(text: &str, count: Option<usize>) -> Option<Self> {
        let lines: Vec<&str> = text.split('\n').collect();
        for (first, line) in lines.iter().enumerate().rev() {
            for style in Style::ALL {
                for alphabet in [label_letter as fn(usize) -> Option<String>, label_digit] {
                    let Some(label) = alphabet(0) else { continue };
                    if option(line, style, &label).is_none() {
                        continue;
                    }
                    let found = Self::from(&lines, first, style, alphabet);
                    if found.options.len() > 1 && count.is_none_or(|count| count == found.options.len()) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }

    fn from(lines: &[&str], first: usize, style: Style, alphabet: fn(usize) -> Option<String>) -> Self {
        let mut labels = Vec::new();
        let mut options = Vec::new();
        for (number, line) in lines.iter().skip(first).enumerate() {
            let labelled = alphabet(number).and_then(|label| option(line, style, &label).map(|text| (label, text)));
            let Some((label, text)) = labelled else { break };
            labels.push(label);
            options.push(text.to_owned());
        }
        let joined = |lines: &[&str]| lines.join("\n");
        let before = lines.get(..first).map(joined).unwrap_or_default();
        let after = lines.get(first + options.len()..).map(joined).unwrap_or_default();
        Self {
            before: if first > 0 { format!("{before}\n") } else { before },
            after: if first + options.len() < lines.len() { format!("\n{after}") } else { after },
            style,
            labels,
            options,
        }
    }

    /// The text with this list, its lines parted by `separator`.
    pub fn text(&self, separator: &str) -> String {
        let line = |(label, option): (&String, &String)| format!("{} {option}", self.style.dressed(label));
        let lines: Vec<String> = self.labels.iter().zip(&self.options).map(line).collect();
        format!("{}{}{}", self.before, lines.join(separator), self.after)
    }
}

fn label_letter(number: usize) -> Option<String> {
    let letters = ('A'..='Z').nth(number);
    letters.map(String::from)
}

fn label_digit(number: usize) -> Option<String> {
    Some((number + 1).to_string())
}

fn option<'a>(line: &'a str, style: Style, label: &str) -> Option<&'a str> {
    line.strip_prefix(&style.dressed(label))?.strip_prefix(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_list_is_found_and_written_back() {
        let text = "Q?\nA. one\nB. two\nAnswer: A\n\nR?\nA. red\nB. blue\nC. green\nAnswer:";
        let listing = Listing::of(text, Some(3)).expect("three options");
        assert_eq!(listing.options, ["red", "blue", "green"]);
        assert_eq!(listing.text("\n"), text);
        assert_eq!(Listing::of(text, Some(2)).expect("the examples'").options, ["one", "two"]);
        assert_eq!(Listing::of("(1) a\n(2) b", None).expect("digits").labels, ["1", "2"]);
        assert_eq!(Listing::of("A dog.\nB", None), None);
    }
}
