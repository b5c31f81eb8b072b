//! The same task in several environments: one definition, one data file an environment.

use std::collections::BTreeSet;

use crate::base::Digest;
use crate::harness::{HarnessError, Task};

/// The column that names a question's environment.
pub const ENVIRONMENT: &str = "environment";

/// One task of several environments, the first the one that others are held against. Ids get the environment in front, clusters too, since
/// equal ids in two files need not be the same question; the column `environment` says where a question is from.
///
/// # Errors
/// Fewer than two environments, two of one name, tasks of different definitions.
pub fn environments(environments: Vec<(String, Task)>) -> Result<Task, HarnessError> {
    let refuse = |task: &str, message: String| HarnessError::Task { task: task.into(), message };
    let Some((_, first)) = environments.first().filter(|_| environments.len() > 1) else {
        return Err(refuse("environments", "a shift needs at least two environments".into()));
    };
    let mut names = BTreeSet::new();
    for (name, task) in &environments {
        if !names.insert(name.as_str()) {
            return Err(refuse(&task.id, format!("two environments are called {name:?}")));
        }
        if (&task.id, &task.version, task.output_type) != (&first.id, &first.version, first.output_type) {
            let message =
                format!("environment {name:?} has another definition than the first ({} {})", first.id, first.version);
            return Err(refuse(&task.id, message));
        }
    }
    let digests: Vec<String> = environments.iter().map(|(name, task)| format!("{name} {}", task.digest)).collect();
    let mut joined = first.clone();
    joined.digest = Digest::of(digests.join("\n").as_bytes());
    joined.documents = environments.iter().map(|(_, task)| task.documents).sum();
    joined.bad_rows = environments.iter().flat_map(|(_, task)| task.bad_rows.clone()).collect();
    joined.questions = Vec::new();
    for (name, task) in environments {
        for mut question in task.questions {
            question.id = format!("{name}/{}", question.id);
            question.cluster = format!("{name}/{}", question.cluster);
            question.variant.iter_mut().for_each(|variant| variant.of = format!("{name}/{}", variant.of));
            question.columns.insert(ENVIRONMENT.into(), name.clone());
            joined.questions.push(question);
        }
    }
    Ok(joined)
}
