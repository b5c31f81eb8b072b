//! Reads the mechanisms of a scenario file and checks each against the values of its parents.

use std::collections::BTreeMap;

use super::error::{ScenarioError, Source, nearest};
use super::pair::Split;
use super::scm::{Mechanism, Pools, Scm, TRAIN, Variable};
use super::spec::{MechanismSpec, ScenarioSpec, VariableSpec};
use crate::causal::Role;

/// Reads the variables, latents and environments of a parsed file whose names and order the graph has checked.
pub(super) fn build(spec: &ScenarioSpec, source: &Source, order: &[String]) -> Result<Scm, ScenarioError> {
    let mut scm = Scm { variables: Vec::new(), environments: BTreeMap::new() };
    for name in order {
        if let Some(latent) = spec.latents.get(name) {
            let place = ["latents", name.as_str()];
            let values = distinct(latent.values.clone(), source, &place)?;
            let mechanism = match &latent.p {
                Some(p) => Mechanism::Table(vec![checked(p, values.len(), source, &[&place[..], &["p"]].concat())?]),
                None => Mechanism::Choice(vec![(0..values.len()).collect()]),
            };
            let (name, parents) = (name.clone(), Vec::new());
            scm.variables.push(Variable { name, role: Role::Latent, values, parents, mechanism, pools: None });
        } else if let Some(variable) = spec.variables.get(name) {
            let variable = read_variable(&scm, name, variable, source)?;
            scm.variables.push(variable);
        }
    }
    read_environments(&mut scm, spec, source)?;
    Ok(scm)
}

fn read_variable(scm: &Scm, name: &str, spec: &VariableSpec, source: &Source) -> Result<Variable, ScenarioError> {
    let place = ["variables", name];
    let parents: Vec<usize> = spec.parents.iter().filter_map(|parent| scm.index(parent)).collect();
    let keys = row_keys(scm, &parents);
    let at = |last: &'static str| [place[0], place[1], last];
    let values = match (&spec.values, &spec.choices) {
        (Some(_), Some(_)) => {
            return Err(source.invalid(&at("choices"), "give `values` or `choices`, not both"));
        }
        (Some(values), None) => values.clone(),
        (None, Some(choices)) => {
            let mut values: Vec<String> = Vec::new();
            for word in keys.iter().filter_map(|key| choices.get(key)).flatten() {
                if !values.contains(word) {
                    values.push(word.clone());
                }
            }
            values
        }
        (None, None) => return Err(source.invalid(&place, format!("`{name}` needs `values` or `choices`"))),
    };
    let values = distinct(values, source, &place)?;
    let mechanism = match (&spec.choices, &spec.table, &spec.p) {
        (Some(choices), None, None) => read_choices(choices, &keys, &values, source, &at("choices"))?,
        (None, None, None) if parents.is_empty() => Mechanism::Choice(vec![(0..values.len()).collect()]),
        (None, table, p) => read_table(table.as_ref(), p.as_deref(), &keys, values.len(), source, &place)?,
        _ => return Err(source.invalid(&place, format!("`{name}` needs one of `choices`, `table`, `p`, not several"))),
    };
    let pools = spec.pools.map(Pools::new);
    if let Some(pools) = &pools {
        let Mechanism::Choice(rows) = &mechanism else {
            return Err(
                source.invalid(&at("pools"), "`pools` divides equally likely words: use `choices` or plain `values`")
            );
        };
        let total = pools.total();
        if let Some(row) = rows.iter().find(|row| row.len() != total) {
            let message =
                format!("the pools hold {total} words together, but a list has {}: make them equal", row.len());
            return Err(source.invalid(&at("pools"), message));
        }
        if [Split::Tuning, Split::Discovery, Split::Evaluation].iter().any(|&split| pools.of(split).is_empty()) {
            return Err(source.invalid(&at("pools"), "each pool needs at least one word"));
        }
    }
    Ok(Variable { name: name.to_owned(), role: spec.role, values, parents, mechanism, pools })
}

fn read_environments(scm: &mut Scm, spec: &ScenarioSpec, source: &Source) -> Result<(), ScenarioError> {
    scm.environments.insert(TRAIN.to_owned(), BTreeMap::new());
    for (environment, changes) in &spec.environments {
        let mut mechanisms = BTreeMap::new();
        for (name, MechanismSpec { p, table }) in changes {
            let place = ["environments", environment.as_str(), name.as_str()];
            let Some((index, variable)) = scm.index(name).and_then(|i| scm.variable(i).map(|v| (i, v))) else {
                let names = scm.variables.iter().map(|v| v.name.as_str());
                return Err(source.invalid(&place, format!("unknown variable `{name}`: {}", nearest(name, names))));
            };
            if environment == TRAIN {
                return Err(source.invalid(&place, "`train` is the world as declared: change the variable itself"));
            }
            let keys = row_keys(scm, &variable.parents);
            let mechanism = read_table(table.as_ref(), p.as_deref(), &keys, variable.values.len(), source, &place)?;
            mechanisms.insert(index, mechanism);
        }
        scm.environments.insert(environment.clone(), mechanisms);
    }
    Ok(())
}

/// The table keys in row order: parents' values joined by commas; one empty key where there are no parents.
fn row_keys(scm: &Scm, parents: &[usize]) -> Vec<String> {
    let mut keys = vec![String::new()];
    for parent in parents.iter().filter_map(|&parent| scm.variable(parent)) {
        let extend = |key: &String| {
            let join = |value: &String| if key.is_empty() { value.clone() } else { format!("{key},{value}") };
            parent.values.iter().map(join).collect::<Vec<_>>()
        };
        keys = keys.iter().flat_map(extend).collect();
    }
    keys
}

fn read_choices(
    choices: &BTreeMap<String, Vec<String>>,
    keys: &[String],
    values: &[String],
    source: &Source,
    place: &[&str],
) -> Result<Mechanism, ScenarioError> {
    check_keys(choices.keys(), keys, source, place)?;
    let mut rows = Vec::new();
    for key in keys {
        let words = choices.get(key).map_or(&[][..], Vec::as_slice);
        if words.is_empty() {
            return Err(source.invalid(place, format!("there are no words for `{key}`: add a list under that key")));
        }
        rows.push(words.iter().filter_map(|word| values.iter().position(|value| value == word)).collect());
    }
    Ok(Mechanism::Choice(rows))
}

fn read_table(
    table: Option<&BTreeMap<String, Vec<f64>>>,
    p: Option<&[f64]>,
    keys: &[String],
    values: usize,
    source: &Source,
    place: &[&str],
) -> Result<Mechanism, ScenarioError> {
    let table = match (table, p) {
        (None, Some(p)) if keys.len() == 1 => {
            return Ok(Mechanism::Table(vec![checked(p, values, source, &[place, &["p"]].concat())?]));
        }
        (Some(table), None) => table,
        (None, Some(_)) => return Err(source.invalid(place, "`p` is for a variable without parents: give a `table`")),
        (Some(_), Some(_)) => return Err(source.invalid(place, "give `table` or `p`, not both")),
        (None, None) => return Err(source.invalid(place, "a variable with parents needs a `table` or `choices`")),
    };
    let place = [place, &["table"]].concat();
    check_keys(table.keys(), keys, source, &place)?;
    let mut rows = Vec::new();
    for key in keys {
        let Some(row) = table.get(key) else {
            return Err(source.invalid(&place, format!("the table has no row `{key}`: add one")));
        };
        rows.push(checked(row, values, source, &[&place[..], &[key.as_str()]].concat())?);
    }
    Ok(Mechanism::Table(rows))
}

fn check_keys<'a>(
    given: impl Iterator<Item = &'a String>,
    keys: &[String],
    source: &Source,
    place: &[&str],
) -> Result<(), ScenarioError> {
    for key in given {
        if !keys.contains(key) {
            let known = nearest(key, keys.iter().map(String::as_str));
            let message = format!("`{key}` is no combination of the parents' values: {known}");
            return Err(source.invalid(&[place, &[key.as_str()]].concat(), message));
        }
    }
    Ok(())
}

/// A row of probabilities: one a value, none negative, summing to 1 within 1e-9.
fn checked(row: &[f64], values: usize, source: &Source, place: &[&str]) -> Result<Vec<f64>, ScenarioError> {
    if row.len() != values {
        let message = format!("{} probabilities for {values} values: give one a value", row.len());
        return Err(source.invalid(place, message));
    }
    let sum: f64 = row.iter().sum();
    if row.iter().any(|p| !(0.0..=1.0).contains(p)) || (sum - 1.0).abs() > 1e-9 {
        return Err(
            source.invalid(place, format!("the probabilities sum to {sum}: they must lie in [0, 1] and sum to 1"))
        );
    }
    Ok(row.to_vec())
}

fn distinct(values: Vec<String>, source: &Source, place: &[&str]) -> Result<Vec<String>, ScenarioError> {
    if values.is_empty() {
        return Err(source.invalid(place, "there are no values: give at least one"));
    }
    match values.iter().enumerate().find(|(index, value)| values.iter().take(*index).any(|other| other == *value)) {
        Some((_, value)) => Err(source.invalid(place, format!("the value `{value}` is given twice: take one out"))),
        None => Ok(values),
    }
}
