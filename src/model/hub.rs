//! Download from the Hugging Face hub into its usual cache, and reading that cache offline.
//!
//! The revision is resolved to a commit first and every file is taken from that commit, so that a push in the middle
//! of a download cannot mix two versions. The library reads no environment: the caller hands [`HubOptions`] over.

use std::path::PathBuf;

/// How to reach the hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The hub's address; the public one where none is given (`HF_ENDPOINT`).
    pub endpoint: Option<String>,
    /// The access token, for gated and private repositories (`HF_TOKEN`).
    pub token: Option<String>,
    /// The cache folder (`HF_HUB_CACHE`, or `hub` below `HF_HOME`).
    pub cache: PathBuf,
    /// Whether the network may be used (`HF_HUB_OFFLINE`).
    pub network: Network,
}

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Ask the hub.
    Online,
    /// Only the cache.
    Offline,
}

/// What went wrong between the hub and us.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Offline, and the cache does not hold it.
    #[error(
        "{id}@{revision}: {file} is not in the cache {}, and offline mode forbids the network; \
         unset HF_HUB_OFFLINE to download it", cache.display()
    )]
    NotCached {
        /// The repository.
        id: String,
        /// The revision.
        revision: String,
        /// The file that is missing.
        file: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// The hub did not answer as it should.
    #[error(
        "{id}@{revision}: cannot fetch {what} from {endpoint}: {message}; check the id, the revision, the network, \
         and HF_TOKEN where the repository is gated"
    )]
    Fetch {
        /// The repository.
        id: String,
        /// The revision.
        revision: String,
        /// What was asked for.
        what: String,
        /// The hub's address.
        endpoint: String,
        /// What the client said.
        message: String,
    },
    /// The repository holds no checkpoint that this program reads.
    #[error("{id}@{revision} holds no {file}; its files are: {found}")]
    NoCheckpoint {
        /// The repository.
        id: String,
        /// The revision.
        revision: String,
        /// What is missing.
        file: &'static str,
        /// What is there.
        found: String,
    },
    /// The data set has no part of that name, or several and none was named.
    #[error("{id}: {}; it has {found}", match config { Some(config) => format!("no part is called {config:?}"), None => "no part is named".to_owned() })]
    NoConfig {
        /// The repository.
        id: String,
        /// The part that was asked for.
        config: Option<String>,
        /// The parts that are there.
        found: String,
    },
    /// The weight index is no JSON object with a `weight_map`.
    #[error("{id}@{revision}: the index of the weights has no usable weight_map: {message}")]
    Index {
        /// The repository.
        id: String,
        /// The revision.
        revision: String,
        /// What is wrong.
        message: String,
    },
    /// The program was built without the hub client.
    #[error("{id}: this program was built without the `hub` feature; download the folder and pass its path")]
    NotBuilt {
        /// The repository.
        id: String,
    },
    /// The user asked to stop.
    #[error("{id}: download interrupted; finished files stay in the cache")]
    Interrupted {
        /// The repository.
        id: String,
    },
}

/// The snapshot folder of `id` at `revision`, downloaded or from the cache: config, tokenizer and weights.
#[cfg(not(feature = "hub"))]
pub fn fetch(id: &str, _: &str, _: &HubOptions, _: &dyn crate::base::Progress) -> Result<PathBuf, HubError> {
    Err(HubError::NotBuilt { id: id.to_owned() })
}

#[cfg(feature = "hub")]
pub use client::{fetch, fetch_dataset};

/// The Parquet files of a data set with the split of each, downloaded or from the cache. The hub keeps every data set in that
/// form on a branch of its own (`refs/convert/parquet`), whatever its authors uploaded. `config` is the part of the data set;
/// where there is one part alone it need not be named.
#[cfg(not(feature = "hub"))]
pub fn fetch_dataset(
    id: &str,
    _: Option<&str>,
    _: &HubOptions,
    _: &dyn crate::base::Progress,
) -> Result<Vec<(String, PathBuf)>, HubError> {
    Err(HubError::NotBuilt { id: id.to_owned() })
}

#[cfg(feature = "hub")]
mod client {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
    use hf_hub::{Cache, Repo, RepoType};

    use super::{HubError, HubOptions, Network};
    use crate::base::{Progress, files};

    const PUBLIC: &str = "https://huggingface.co";
    const CONFIG: &str = "config.json";
    const SINGLE: &str = "model.safetensors";
    const INDEX: &str = "model.safetensors.index.json";
    /// Taken where they are there.
    const OPTIONAL: [&str; 9] = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json",
        "chat_template.jinja",
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
    ];
    /// Weights, the first that is there: (one file, index of several).
    const WEIGHTS: [(&str, &str); 2] = [(SINGLE, INDEX), ("pytorch_model.bin", "pytorch_model.bin.index.json")];

    /// The snapshot folder of `id` at `revision`, downloaded or from the cache: config, tokenizer and weights.
    pub fn fetch(id: &str, revision: &str, options: &HubOptions, progress: &dyn Progress) -> Result<PathBuf, HubError> {
        let target = Target { id, revision, options, kind: RepoType::Model };
        match options.network {
            Network::Offline => target.cached(),
            Network::Online => target.download(progress),
        }
    }

    struct Target<'a> {
        id: &'a str,
        revision: &'a str,
        options: &'a HubOptions,
        kind: RepoType,
    }

    /// Where the hub keeps data sets as Parquet.
    const PARQUET: &str = "refs/convert/parquet";

    /// The Parquet files of a data set with the split of each, downloaded or from the cache. The hub keeps every data set in
    /// that form on a branch of its own (`refs/convert/parquet`), whatever its authors uploaded. `config` is the part of the
    /// data set; where there is one part alone it need not be named.
    pub fn fetch_dataset(
        id: &str,
        config: Option<&str>,
        options: &HubOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<(String, PathBuf)>, HubError> {
        let target = Target { id, revision: PARQUET, options, kind: RepoType::Dataset };
        let (names, fetched) = match options.network {
            Network::Offline => (target.cached_names()?, None),
            Network::Online => {
                let api = target.api()?;
                let info = api.repo(target.repo(PARQUET)).info();
                let info = info.map_err(|error| target.failed("the file list", &error))?;
                let names = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
                (names, Some((api.repo(target.repo(&info.sha)), info.sha)))
            }
        };
        let mut files = Vec::new();
        for (split, name) in target.parts(&names, config)? {
            let path = match &fetched {
                Some((repo, commit)) => {
                    target.file(repo, commit, &name, progress)?.join(name.rsplit('/').next().unwrap_or(&name))
                }
                None => {
                    let cache = Cache::new(options.cache.clone()).repo(target.repo(PARQUET));
                    cache.get(&name).ok_or_else(|| target.not_cached(&name))?
                }
            };
            files.push((split, path));
        }
        if let Some((_, commit)) = fetched {
            let named = Cache::new(options.cache.clone()).repo(target.repo(PARQUET));
            named.create_ref(&commit).map_err(|error| target.failed("the cache entry", &ApiError::IoError(error)))?;
        }
        Ok(files)
    }

    impl Target<'_> {
        fn repo(&self, revision: &str) -> Repo {
            Repo::with_revision(self.id.to_owned(), self.kind, revision.to_owned())
        }

        /// The client.
        fn api(&self) -> Result<hf_hub::api::sync::Api, HubError> {
            let mut builder = ApiBuilder::from_cache(Cache::new(self.options.cache.clone()))
                .with_progress(false)
                .with_retries(3)
                .with_user_agent("counterpath", env!("CARGO_PKG_VERSION"))
                .with_endpoint(self.endpoint().to_owned());
            if self.options.token.is_some() {
                builder = builder.with_token(self.options.token.clone());
            }
            builder.build().map_err(|error| self.failed("the client's set-up", &error))
        }

        /// The Parquet files of a data set that the cache holds, as `part/split/number.parquet`.
        fn cached_names(&self) -> Result<BTreeSet<String>, HubError> {
            let missing = || self.not_cached("the data set");
            let folder = self.options.cache.join(self.repo(PARQUET).folder_name());
            let commit = files::read_text(&folder.join("refs").join(PARQUET)).map_err(|_| missing())?;
            let snapshot = folder.join("snapshots").join(commit.trim());
            let found = files::walk(&snapshot, "parquet").map_err(|_| missing())?;
            let name = |path: PathBuf| {
                let name = path.strip_prefix(&snapshot).ok()?.to_string_lossy().replace('\\', "/");
                Some(name)
            };
            Ok(found.into_iter().filter_map(name).collect())
        }

        /// Split and name of the files of one part.
        fn parts(&self, names: &BTreeSet<String>, config: Option<&str>) -> Result<Vec<(String, String)>, HubError> {
            let split = |name: &String| {
                let mut parts = name.strip_suffix(".parquet")?.split('/');
                let (part, split, file) = (parts.next()?, parts.next()?, parts.next()?);
                let split = split.strip_prefix("partial-").unwrap_or(split);
                (parts.next().is_none() && !file.is_empty()).then(|| (part.to_owned(), split.to_owned(), name.clone()))
            };
            let all: Vec<(String, String, String)> = names.iter().filter_map(split).collect();
            let known: BTreeSet<&str> = all.iter().map(|(part, ..)| part.as_str()).collect();
            let wanted = match config {
                Some(config) => known.get(config).copied(),
                None if known.len() == 1 => known.first().copied(),
                None => known.get("default").copied(),
            };
            let wanted = wanted.ok_or_else(|| HubError::NoConfig {
                id: self.id.to_owned(),
                config: config.map(str::to_owned),
                found: if known.is_empty() {
                    "none".into()
                } else {
                    known.iter().copied().collect::<Vec<_>>().join(", ")
                },
            })?;
            Ok(all
                .iter()
                .filter(|(part, ..)| part == wanted)
                .map(|(_, split, name)| (split.clone(), name.clone()))
                .collect())
        }

        fn cached(&self) -> Result<PathBuf, HubError> {
            let cache = Cache::new(self.options.cache.clone()).repo(self.repo(self.revision));
            let get = |file: &str| cache.get(file).ok_or_else(|| self.not_cached(file));
            let config = get(CONFIG)?;
            let held = WEIGHTS.into_iter().find(|(single, index)| cache.get(index).or(cache.get(single)).is_some());
            let (single, index) = held.unwrap_or((SINGLE, INDEX));
            match cache.get(index) {
                Some(index) => {
                    for shard in self.shards(&index)? {
                        get(&shard)?;
                    }
                }
                None => {
                    get(single)?;
                }
            }
            Ok(config.parent().map(Path::to_path_buf).unwrap_or_default())
        }

        fn download(&self, progress: &dyn Progress) -> Result<PathBuf, HubError> {
            let api = self.api()?;
            let info =
                api.repo(self.repo(self.revision)).info().map_err(|error| self.failed("the file list", &error))?;
            let found: BTreeSet<String> = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
            let pinned = api.repo(self.repo(&info.sha));
            let mut folder = PathBuf::new();
            for file in self.wanted(&found)? {
                folder = self.file(&pinned, &info.sha, file, progress)?;
            }
            if let Some(index) = self.weights(&found).filter(|file| file.ends_with(".index.json")) {
                let index = folder.join(index);
                for shard in self.shards(&index)? {
                    self.file(&pinned, &info.sha, &shard, progress)?;
                }
            }
            // The branch's name points at the commit, so that offline mode finds it under the name that was used.
            let named = Cache::new(self.options.cache.clone()).repo(self.repo(self.revision));
            named.create_ref(&info.sha).map_err(|error| self.failed("the cache entry", &ApiError::IoError(error)))?;
            Ok(folder)
        }

        /// The weights' file or index among what is there.
        fn weights(&self, found: &BTreeSet<String>) -> Option<&'static str> {
            let kinds = WEIGHTS.into_iter().flat_map(|(single, index)| [index, single]);
            kinds.into_iter().find(|file| found.contains(*file))
        }

        fn wanted(&self, found: &BTreeSet<String>) -> Result<Vec<&'static str>, HubError> {
            let weights = self.weights(found).unwrap_or(SINGLE);
            if let Some(file) = [CONFIG, weights].into_iter().find(|file| !found.contains(*file)) {
                return Err(HubError::NoCheckpoint {
                    id: self.id.to_owned(),
                    revision: self.revision.to_owned(),
                    file,
                    found: found.iter().take(12).cloned().collect::<Vec<_>>().join(", "),
                });
            }
            let optional = OPTIONAL.into_iter().filter(|file| found.contains(*file));
            Ok([CONFIG, weights].into_iter().chain(optional).collect())
        }

        fn file(&self, repo: &ApiRepo, commit: &str, file: &str, progress: &dyn Progress) -> Result<PathBuf, HubError> {
            if progress.cancelled() {
                return Err(HubError::Interrupted { id: self.id.to_owned() });
            }
            let cached = Cache::new(self.options.cache.clone()).repo(self.repo(commit)).get(file);
            let path = match cached {
                Some(path) => path,
                None => repo
                    .download_with_progress(file, Bytes { file: format!("{} {file}", self.id), progress })
                    .map_err(|error| self.failed(file, &error))?,
            };
            Ok(path.parent().map(Path::to_path_buf).unwrap_or_default())
        }

        /// The shard files that an index names.
        fn shards(&self, index: &Path) -> Result<BTreeSet<String>, HubError> {
            let wrong = |message: String| HubError::Index {
                id: self.id.to_owned(),
                revision: self.revision.to_owned(),
                message,
            };
            let index: serde_json::Value = files::read_json(index).map_err(|error| wrong(error.to_string()))?;
            let map = index.get("weight_map").and_then(|map| map.as_object());
            let map = map.ok_or_else(|| wrong("it is missing or no object".into()))?;
            map.iter()
                .map(|(tensor, file)| match file.as_str() {
                    Some(file) if !file.contains("..") && !file.starts_with('/') => Ok(file.to_owned()),
                    _ => Err(wrong(format!("{tensor} is in {file}"))),
                })
                .collect()
        }

        fn endpoint(&self) -> &str {
            self.options.endpoint.as_deref().map_or(PUBLIC, |endpoint| endpoint.trim_end_matches('/'))
        }

        fn not_cached(&self, file: &str) -> HubError {
            HubError::NotCached {
                id: self.id.to_owned(),
                revision: self.revision.to_owned(),
                file: file.to_owned(),
                cache: self.options.cache.clone(),
            }
        }

        fn failed(&self, what: &str, error: &ApiError) -> HubError {
            HubError::Fetch {
                id: self.id.to_owned(),
                revision: self.revision.to_owned(),
                what: what.to_owned(),
                endpoint: self.endpoint().to_owned(),
                message: error.to_string(),
            }
        }
    }

    /// Reports bytes.
    struct Bytes<'a> {
        file: String,
        progress: &'a dyn Progress,
    }

    impl hf_hub::api::Progress for Bytes<'_> {
        fn init(&mut self, size: usize, _: &str) {
            self.progress.start(&self.file, size as u64);
        }

        fn update(&mut self, size: usize) {
            self.progress.advance(size as u64);
        }

        fn finish(&mut self) {
            self.progress.finish();
        }
    }
}
