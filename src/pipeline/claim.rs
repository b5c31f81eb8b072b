//! A run's folder belongs to one request.

use super::RunRequest;
use super::error::PipelineError;
use super::recipe::Recipe;
use crate::base::{Digest, files};

/// Takes the folder for this request, or refuses the folder of another.
pub(super) fn claim(request: &RunRequest) -> Result<(), PipelineError> {
    #[derive(serde::Serialize, serde::Deserialize, PartialEq)]
    struct Claim {
        recipe: Recipe,
        model: Digest,
        seeds: usize,
    }
    let path = request.output.join("request.json");
    let claim = Claim { recipe: request.recipe.clone(), model: request.model.digest().clone(), seeds: request.seeds };
    if !files::exists(&path) {
        return Ok(files::write_json(&path, &claim)?);
    }
    let found: Claim = files::read_json(&path)?;
    let differs = [
        ("recipe", found.recipe != claim.recipe),
        ("model", found.model != claim.model),
        ("--seeds", found.seeds != claim.seeds),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        Some((what, _)) => Err(PipelineError::OtherRun { folder: request.output.clone(), what: what.into() }),
        None => Ok(()),
    }
}
