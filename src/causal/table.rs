//! A table of data: named columns of numbers or of labels, read from comma- or tab-separated text.

use super::node::did_you_mean;
use crate::base::suggestion;

/// What is wrong with a table or a column.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TableError {
    /// The text is no table.
    #[error("line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A name that no column has.
    #[error("there is no column `{name}`{}", did_you_mean(.suggestion))]
    UnknownColumn {
        /// The name asked for.
        name: String,
        /// The nearest that exists.
        suggestion: Option<String>,
    },
    /// A name twice.
    #[error("the column `{0}` stands in the table twice: rename one of the two")]
    Duplicate(String),
    /// Missing values.
    #[error(
        "{rows} of {all} rows have missing values ({columns}): fill them in, or ask for the complete rows alone, which is right only where nothing that matters decides what is missing"
    )]
    Missing {
        /// Rows with a missing value.
        rows: usize,
        /// All rows.
        all: usize,
        /// Columns and how many they miss.
        columns: String,
    },
    /// Labels where numbers are needed.
    #[error("the column `{column}` holds `{value}`, which is no number: code it as numbers")]
    NotNumeric {
        /// The column.
        column: String,
        /// A value.
        value: String,
    },
    /// Too many different values for a discrete column.
    #[error("the column `{column}` has {found} different values; a discrete analysis takes at most {most}: bin it")]
    TooManyLevels {
        /// The column.
        column: String,
        /// Different values.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// A treatment that is not 0 and 1.
    #[error("the column `{column}` must be 0 or 1 in every row, and holds {value}")]
    NotBinary {
        /// The column.
        column: String,
        /// A value.
        value: f64,
    },
    /// Nothing varies.
    #[error("the column `{0}` is constant: it can neither cause nor explain anything here; leave it out")]
    Constant(String),
    /// Columns of unequal length.
    #[error("the column `{column}` has {found} values where the table has {wanted} rows")]
    Length {
        /// The column.
        column: String,
        /// Its values.
        found: usize,
        /// The rows.
        wanted: usize,
    },
    /// No rows.
    #[error("the table has no rows")]
    Empty,
}

/// What to do with rows that miss a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Refuse the table, and say how many.
    Refuse,
    /// Leave the rows out.
    DropRows,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Numbers.
    Numbers(Vec<f64>),
    /// Labels: the distinct ones in order of appearance, and each row's place among them.
    Labels {
        /// The labels.
        levels: Vec<String>,
        /// The rows.
        codes: Vec<usize>,
    },
}

/// Named columns of one length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
}

/// A discrete column: the distinct values (numbers ascending, labels as they appear) and each row's place among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// The values as text.
    pub names: Vec<String>,
    /// Each row's place.
    pub codes: Vec<usize>,
}

const MISSING: [&str; 6] = ["", "NA", "NaN", "nan", "null", "."];

impl Table {
    /// A table of numeric columns.
    pub fn from_numbers(columns: Vec<(String, Vec<f64>)>) -> Result<Self, TableError> {
        let mut table = Self { rows: columns.first().map_or(0, |(_, values)| values.len()), ..Self::default() };
        for (name, values) in columns {
            table.push(&name, Column::Numbers(values))?;
        }
        Ok(table)
    }

    /// Adds a column.
    pub fn push(&mut self, name: &str, column: Column) -> Result<(), TableError> {
        let found = match &column {
            Column::Numbers(values) => values.len(),
            Column::Labels { codes, .. } => codes.len(),
        };
        if self.names.iter().any(|other| other == name) {
            return Err(TableError::Duplicate(name.to_owned()));
        }
        if self.columns.is_empty() {
            self.rows = found;
        } else if found != self.rows {
            return Err(TableError::Length { column: name.to_owned(), found, wanted: self.rows });
        }
        self.names.push(name.to_owned());
        self.columns.push(column);
        Ok(())
    }

    /// Reads text with a header line, fields separated by commas or, where the header has one, tabs. Quotes as in RFC 4180.
    pub fn parse(text: &str, missing: Missing) -> Result<Self, TableError> {
        let header = text.lines().next().unwrap_or_default();
        let separator = if header.contains('\t') { '\t' } else { ',' };
        let mut records = records(text, separator)?.into_iter();
        let (_, names) = records.next().ok_or(TableError::Empty)?;
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (line, record) in records {
            if record.len() != names.len() {
                let message = format!("{} fields, where the header has {}", record.len(), names.len());
                return Err(TableError::Syntax { line, message });
            }
            rows.push(record);
        }
        let absent = |field: &String| MISSING.contains(&field.trim());
        let incomplete = rows.iter().filter(|row| row.iter().any(absent)).count();
        if incomplete > 0 && missing == Missing::Refuse {
            let count = |at: usize| rows.iter().filter(|row| row.get(at).is_some_and(absent)).count();
            let columns = names.iter().enumerate().map(|(at, name)| (name, count(at))).filter(|(_, n)| *n > 0);
            let columns = columns.map(|(name, n)| format!("{name}: {n}")).collect::<Vec<_>>().join(", ");
            return Err(TableError::Missing { rows: incomplete, all: rows.len(), columns });
        }
        rows.retain(|row| !row.iter().any(absent));
        if rows.is_empty() {
            return Err(TableError::Empty);
        }
        let mut table = Self { rows: rows.len(), ..Self::default() };
        for (at, name) in names.iter().enumerate() {
            let fields: Vec<&str> = rows.iter().filter_map(|row| row.get(at)).map(|field| field.trim()).collect();
            table.push(name.trim(), column(&fields))?;
        }
        Ok(table)
    }

    /// Comma-separated text, as [`Table::parse`] reads it.
    pub fn write(&self) -> String {
        let quote = |text: &str| match text.contains([',', '"', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let mut lines = vec![self.names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(",")];
        for row in 0..self.rows {
            let field = |column: &Column| match column {
                Column::Numbers(values) => values.get(row).map(f64::to_string).unwrap_or_default(),
                Column::Labels { levels, codes } => {
                    quote(codes.get(row).and_then(|code| levels.get(*code)).map_or("", String::as_str))
                }
            };
            lines.push(self.columns.iter().map(field).collect::<Vec<_>>().join(","));
        }
        lines.join("\n") + "\n"
    }

    /// The columns' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A column.
    pub fn column(&self, name: &str) -> Result<&Column, TableError> {
        let at = self.names.iter().position(|other| other == name);
        at.and_then(|at| self.columns.get(at)).ok_or_else(|| TableError::UnknownColumn {
            name: name.to_owned(),
            suggestion: suggestion(name, self.names.iter().map(String::as_str)).map(str::to_owned),
        })
    }

    /// A column's numbers.
    pub fn numbers(&self, name: &str) -> Result<&[f64], TableError> {
        match self.column(name)? {
            Column::Numbers(values) => Ok(values),
            Column::Labels { levels, .. } => Err(TableError::NotNumeric {
                column: name.to_owned(),
                value: levels.first().cloned().unwrap_or_default(),
            }),
        }
    }

    /// A column of 0 and 1, both of which occur.
    pub fn binary(&self, name: &str) -> Result<&[f64], TableError> {
        let values = self.numbers(name)?;
        if let Some(&value) = values.iter().find(|value| **value != 0.0 && **value != 1.0) {
            return Err(TableError::NotBinary { column: name.to_owned(), value });
        }
        self.varying(name)
    }

    /// A column as numbers that a regression can take: itself, or an indicator for each of its labels but the first (in the
    /// order of the alphabet), named `column=label`.
    pub fn coded(&self, name: &str) -> Result<Vec<(String, Vec<f64>)>, TableError> {
        let (levels, codes) = match self.column(name)? {
            Column::Numbers(_) => return Ok(vec![(name.to_owned(), self.varying(name)?.to_vec())]),
            Column::Labels { levels, codes } => (levels, codes),
        };
        let mut order: Vec<usize> = (0..levels.len()).collect();
        order.sort_by(|a, b| levels.get(*a).cmp(&levels.get(*b)));
        if order.len() < 2 {
            return Err(TableError::Constant(name.to_owned()));
        }
        let indicator = |&level: &usize| {
            let label = levels.get(level).map_or("", String::as_str);
            (format!("{name}={label}"), codes.iter().map(|code| f64::from(*code == level)).collect())
        };
        Ok(order.iter().skip(1).map(indicator).collect())
    }

    /// A treatment of 0 and 1, or of two labels, the second in the alphabet being 1; with its name, `column=label` for labels.
    pub fn treatment(&self, name: &str) -> Result<(String, Vec<f64>), TableError> {
        match self.column(name)? {
            Column::Numbers(_) => Ok((name.to_owned(), self.binary(name)?.to_vec())),
            Column::Labels { levels, .. } if levels.len() > 2 => {
                Err(TableError::TooManyLevels { column: name.to_owned(), found: levels.len(), most: 2 })
            }
            Column::Labels { .. } => self.coded(name)?.pop().ok_or_else(|| TableError::Constant(name.to_owned())),
        }
    }

    /// A column's numbers, which are not all the same.
    pub fn varying(&self, name: &str) -> Result<&[f64], TableError> {
        let values = self.numbers(name)?;
        match values.first().is_none_or(|first| values.iter().all(|value| value == first)) {
            true => Err(TableError::Constant(name.to_owned())),
            false => Ok(values),
        }
    }

    /// A column as a discrete one with at most `most` values.
    pub fn levels(&self, name: &str, most: usize) -> Result<Levels, TableError> {
        let levels = match self.column(name)? {
            Column::Labels { levels, codes } => Levels { names: levels.clone(), codes: codes.clone() },
            Column::Numbers(values) => {
                let mut distinct = values.clone();
                distinct.sort_by(f64::total_cmp);
                distinct.dedup();
                let place = |value: &f64| distinct.partition_point(|other| other < value);
                Levels {
                    names: distinct.iter().map(f64::to_string).collect(),
                    codes: values.iter().map(place).collect(),
                }
            }
        };
        match levels.names.len() {
            found if found > most => Err(TableError::TooManyLevels { column: name.to_owned(), found, most }),
            _ => Ok(levels),
        }
    }
}

fn column(fields: &[&str]) -> Column {
    let numbers: Option<Vec<f64>> =
        fields.iter().map(|field| field.parse().ok().filter(|x: &f64| x.is_finite())).collect();
    if let Some(numbers) = numbers {
        return Column::Numbers(numbers);
    }
    let mut levels: Vec<String> = Vec::new();
    let mut places = std::collections::HashMap::new();
    let mut code = |field: &&str| {
        *places.entry((*field).to_owned()).or_insert_with(|| {
            levels.push((*field).to_owned());
            levels.len() - 1
        })
    };
    let codes = fields.iter().map(&mut code).collect();
    Column::Labels { levels, codes }
}

/// The fields of each line, with the line's number; empty lines are skipped.
fn records(text: &str, separator: char) -> Result<Vec<(usize, Vec<String>)>, TableError> {
    let (mut found, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut start, mut quoted, mut any) = (1, 1, false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if quoted || field.is_empty() => {
                quoted = !quoted;
                any = true;
            }
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                if any || !field.is_empty() || !record.is_empty() {
                    record.push(std::mem::take(&mut field));
                    found.push((start, std::mem::take(&mut record)));
                }
                any = false;
                start = line + 1;
            }
            c if c == separator && !quoted => record.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
        line += usize::from(c == '\n');
    }
    if quoted {
        return Err(TableError::Syntax { line: start, message: "a quote is never closed".into() });
    }
    if any || !field.is_empty() || !record.is_empty() {
        record.push(field);
        found.push((start, record));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_tabs_labels_and_numbers() {
        let table = Table::parse("a,\"b, c\"\r\n1,\"x \"\"y\"\"\"\n2.5,z\n\n", Missing::Refuse).expect("table");
        assert_eq!(table.names(), ["a", "b, c"]);
        assert_eq!(table.numbers("a"), Ok(&[1.0, 2.5][..]));
        assert_eq!(table.levels("b, c", 9).expect("labels").names, ["x \"y\"", "z"]);
        assert_eq!(Table::parse(&table.write(), Missing::Refuse), Ok(table));
        let tabs = Table::parse("a\tb\n3\t1\n1\t1\n", Missing::Refuse).expect("tabs");
        assert_eq!(tabs.levels("a", 9).expect("levels").codes, [1, 0]);
        assert_eq!(tabs.varying("b"), Err(TableError::Constant("b".into())));
        let labels = Table::parse("g,h\nm,x\nf,y\nm,z\n", Missing::Refuse).expect("labels");
        assert_eq!(labels.treatment("g"), Ok(("g=m".into(), vec![1.0, 0.0, 1.0])));
        assert!(matches!(labels.treatment("h"), Err(TableError::TooManyLevels { found: 3, .. })));
        let coded = labels.coded("h").expect("coded");
        assert_eq!(coded, [("h=y".into(), vec![0.0, 1.0, 0.0]), ("h=z".into(), vec![0.0, 0.0, 1.0])]);
    }

    #[test]
    fn bad_tables_are_refused_with_their_place() {
        let short = Table::parse("a,b\n1,2\n3\n", Missing::Refuse).expect_err("short");
        assert_eq!(short, TableError::Syntax { line: 3, message: "1 fields, where the header has 2".into() });
        let text = "a,b\n1,NA\n2,3\n";
        let missing = Table::parse(text, Missing::Refuse).expect_err("missing").to_string();
        assert!(missing.starts_with("1 of 2 rows have missing values (b: 1)"), "{missing}");
        assert_eq!(Table::parse(text, Missing::DropRows).expect("complete rows").rows(), 1);
        assert!(matches!(Table::parse("a,a\n1,2\n", Missing::Refuse), Err(TableError::Duplicate(_))));
        let table = Table::parse("age,d\n1,0\n2,3\n", Missing::Refuse).expect("table");
        assert!(table.numbers("agee").expect_err("typo").to_string().contains("did you mean `age`?"));
        assert!(matches!(table.binary("d"), Err(TableError::NotBinary { .. })));
    }
}
