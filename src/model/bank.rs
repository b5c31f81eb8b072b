//! Several adapters over one base in one pass, chosen row by row.
//!
//! The base's weights run once for the whole batch; each adapter adds s·B(A x) to the rows that chose it (a
//! weight-decomposed one rescales them as well). So a batch costs one pass of the base and the low-rank products.

use std::sync::Arc;

use super::adapter::Adapter;
use super::error::ModelError;
use super::language_model::LanguageModel;
use crate::base::Digest;

/// A base with named adapters.
#[derive(Clone)]
pub struct AdapterBank {
    /// The base with every adapter at hand and none chosen.
    model: LanguageModel,
    names: Vec<String>,
    digests: Vec<Digest>,
}

impl AdapterBank {
    /// A bank without adapters.
    pub fn new(base: &LanguageModel) -> Self {
        Self { model: base.clone(), names: Vec::new(), digests: Vec::new() }
    }

    /// Adds an adapter under a name. Whole tensors that an adapter replaces cannot be chosen by row, so an adapter with
    /// `modules_to_save` is refused.
    pub fn add(&mut self, name: &str, adapter: &Adapter) -> Result<(), ModelError> {
        if self.names.iter().any(|known| known == name) {
            return Err(ModelError::Request(format!("two adapters are called {name:?}; give each its own name")));
        }
        if let Some(tensor) = adapter.replaced().keys().next() {
            let message = format!(
                "adapter {name:?} replaces {tensor} (modules_to_save), which rows of one batch cannot choose; run it alone"
            );
            return Err(ModelError::Request(message));
        }
        let mut model = self.model.clone();
        for (module, lora) in adapter.updates(&self.model.linear_modules())? {
            model.decoder_mut().offer(self.names.len(), module, lora.clone())?;
        }
        self.model = model;
        self.names.push(name.to_owned());
        self.digests.push(adapter.digest()?);
        Ok(())
    }

    /// The base, with no adapter chosen.
    pub fn base(&self) -> &LanguageModel {
        &self.model
    }

    /// The names in the order in which they were added.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The digest that an adapter had when it was added; an error that lists the names where there is none called so.
    pub fn digest(&self, name: &str) -> Result<&Digest, ModelError> {
        let digest = self.digests.get(self.number(name)?);
        digest.ok_or_else(|| ModelError::Request(format!("no adapter is called {name:?}")))
    }

    fn number(&self, name: &str) -> Result<usize, ModelError> {
        self.names.iter().position(|known| known == name).ok_or_else(|| {
            let known = self.names.join(", ");
            ModelError::Request(format!("no adapter is called {name:?}; there are: {known}"))
        })
    }

    /// A model all of whose texts go through one adapter, or through the base alone.
    pub fn alone(&self, chosen: Option<&str>) -> Result<LanguageModel, ModelError> {
        match chosen {
            Some(_) => self.rows(&[chosen]),
            None => Ok(self.model.clone()),
        }
    }

    /// A model whose batches have as many texts as `chosen`, text i going through the adapter `chosen[i]`, or through the
    /// base alone where that is `None`. Batches of another size are refused. In generation a text keeps its adapter when
    /// others have ended; give all requests in one batch there, since the next batch would begin with `chosen[0]` again.
    pub fn rows(&self, chosen: &[Option<&str>]) -> Result<LanguageModel, ModelError> {
        let routes =
            chosen.iter().map(|name| name.map(|name| self.number(name)).transpose()).collect::<Result<Vec<_>, _>>()?;
        let mut model = self.model.clone();
        model.decoder_mut().route(&Arc::new(routes));
        Ok(model)
    }
}
