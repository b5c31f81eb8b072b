//! Download through a small local server that speaks the hub's API.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use counterpath::base::Silent;
use counterpath::model::hub::{HubError, HubOptions, Network, fetch, fetch_dataset};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Default)]
struct Log {
    lines: Vec<String>,
    tokens: Vec<Option<String>>,
}

/// Serves `files` of repository `org/tiny` (and nothing else) until the test's process ends.
fn serve(files: BTreeMap<&'static str, Vec<u8>>, required_token: Option<&'static str>) -> (String, Arc<Mutex<Log>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("address"));
    let log = Arc::new(Mutex::new(Log::default()));
    let shared = log.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &files, required_token, &shared);
        }
    });
    (address, log)
}

fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<&'static str, Vec<u8>>,
    required_token: Option<&str>,
    log: &Mutex<Log>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut range, mut token) = (None, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("range: bytes=") {
            range = Some(value.trim().to_owned());
        }
        if lower.starts_with("authorization:") {
            token = line.split_once(':').map(|(_, value)| value.trim().to_owned());
        }
    }
    let path = request.split_whitespace().nth(1).unwrap_or_default().to_owned();
    {
        let mut log = log.lock().expect("log");
        log.lines.push(path.clone());
        log.tokens.push(token.clone());
    }
    let (mut status, mut extra, mut body) = ("404 Not Found", String::new(), b"no such thing".to_vec());
    if required_token.is_some_and(|required| token.as_deref() != Some(&format!("Bearer {required}"))) {
        status = "401 Unauthorized";
    } else if path == "/api/models/org/tiny/revision/main"
        || path == "/api/models/org/tiny/revision/v1"
        || path == "/api/datasets/org/tiny/revision/refs%2Fconvert%2Fparquet"
    {
        let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        status = "200 OK";
        body = serde_json::json!({ "siblings": siblings, "sha": COMMIT }).to_string().into_bytes();
    } else if let Some(name) =
        path.strip_prefix("/datasets").unwrap_or(&path).strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/"))
        && let Some(content) = files.get(name)
    {
        let (from, to) = match range.as_deref().and_then(|range| range.split_once('-')) {
            Some((from, to)) => (from.parse().unwrap_or(0), to.parse().unwrap_or(content.len().saturating_sub(1))),
            None => (0, content.len().saturating_sub(1)),
        };
        status = "206 Partial Content";
        body = content[from..=to.min(content.len() - 1)].to_vec();
        extra = format!(
            "Content-Range: bytes {from}-{to}/{}\r\nETag: \"etag-{name}\"\r\nX-Repo-Commit: {COMMIT}\r\n",
            content.len()
        );
    }
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-hub-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn options(endpoint: &str, cache: &std::path::Path, network: Network) -> HubOptions {
    HubOptions { endpoint: Some(endpoint.to_owned()), token: None, cache: cache.to_path_buf(), network }
}

fn single() -> BTreeMap<&'static str, Vec<u8>> {
    BTreeMap::from([
        ("config.json", b"{\"model_type\":\"llama\"}".to_vec()),
        ("model.safetensors", vec![7u8; 70_000]),
        ("tokenizer.json", b"{}".to_vec()),
        ("pytorch_model.bin", vec![1u8; 10]),
    ])
}

#[test]
fn a_repository_is_downloaded_once_and_then_served_offline() {
    let (endpoint, log) = serve(single(), None);
    let cache = scratch("single");
    let folder = fetch("org/tiny", "main", &options(&endpoint, &cache, Network::Online), &Silent).expect("download");
    assert_eq!(std::fs::read(folder.join("model.safetensors")).expect("weights"), vec![7u8; 70_000]);
    assert!(folder.join("tokenizer.json").exists());
    assert!(!folder.join("pytorch_model.bin").exists(), "only what is used is fetched");
    assert!(folder.ends_with(format!("models--org--tiny/snapshots/{COMMIT}")));

    let before = log.lock().expect("log").lines.len();
    fetch("org/tiny", "main", &options(&endpoint, &cache, Network::Online), &Silent).expect("again");
    let asked = log.lock().expect("log").lines[before..].to_vec();
    assert_eq!(asked, ["/api/models/org/tiny/revision/main"], "files of the same commit are not fetched again");

    let nobody = "http://127.0.0.1:9";
    let offline = fetch("org/tiny", "main", &options(nobody, &cache, Network::Offline), &Silent).expect("offline");
    assert_eq!(offline, folder);
    let error = fetch("org/tiny", "v1", &options(nobody, &cache, Network::Offline), &Silent).expect_err("not cached");
    assert!(error.to_string().contains("config.json is not in the cache"), "{error}");
}

#[test]
fn shards_are_fetched_by_the_index() {
    let index = serde_json::json!({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}});
    let files = BTreeMap::from([
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.to_string().into_bytes()),
        ("model-1.safetensors", b"one".to_vec()),
        ("model-2.safetensors", b"two".to_vec()),
    ]);
    let (endpoint, _) = serve(files, None);
    let cache = scratch("shards");
    let folder = fetch("org/tiny", "v1", &options(&endpoint, &cache, Network::Online), &Silent).expect("download");
    assert_eq!(std::fs::read(folder.join("model-2.safetensors")).expect("second shard"), b"two");
    fetch("org/tiny", "v1", &options(&endpoint, &cache, Network::Offline), &Silent).expect("offline");
    std::fs::remove_file(folder.join("model-2.safetensors")).expect("remove");
    let error = fetch("org/tiny", "v1", &options(&endpoint, &cache, Network::Offline), &Silent).expect_err("shard");
    assert!(error.to_string().contains("model-2.safetensors is not in the cache"), "{error}");
}

#[test]
fn the_token_is_sent_and_refusals_say_what_to_check() {
    let (endpoint, log) = serve(single(), Some("secret"));
    let cache = scratch("token");
    let error = fetch("org/tiny", "main", &options(&endpoint, &cache, Network::Online), &Silent).expect_err("gated");
    assert!(error.to_string().contains("HF_TOKEN") && error.to_string().contains("401"), "{error}");
    let with_token = HubOptions { token: Some("secret".into()), ..options(&endpoint, &cache, Network::Online) };
    fetch("org/tiny", "main", &with_token, &Silent).expect("with the token");
    assert!(log.lock().expect("log").tokens.contains(&Some("Bearer secret".into())));
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let (endpoint, _) = serve(BTreeMap::from([("README.md", b"x".to_vec())]), None);
    let error = fetch("org/tiny", "main", &options(&endpoint, &scratch("none"), Network::Online), &Silent);
    assert!(matches!(error, Err(HubError::NoCheckpoint { file: "config.json", .. })), "{error:?}");
    let error = fetch("org/other", "main", &options(&endpoint, &scratch("other"), Network::Online), &Silent);
    assert!(matches!(error, Err(HubError::Fetch { .. })), "{error:?}");
}

#[test]
fn a_data_set_comes_in_its_parquet_form_and_stays_in_the_cache() {
    let files = BTreeMap::from([
        ("english/test/0000.parquet", b"PAR1".to_vec()),
        ("english/test/0001.parquet", b"PAR2".to_vec()),
        ("english/partial-train/0000.parquet", b"PAR3".to_vec()),
        ("french/test/0000.parquet", b"PAR4".to_vec()),
        (".gitattributes", b"x".to_vec()),
    ]);
    let (endpoint, _) = serve(files, None);
    let cache = scratch("data-set");
    let online = options(&endpoint, &cache, Network::Online);
    let offline = options("http://127.0.0.1:1", &cache, Network::Offline);
    let error = fetch_dataset("org/tiny", Some("english"), &offline, &Silent).expect_err("nothing is here yet");
    assert!(matches!(error, HubError::NotCached { .. }) && error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    let read = |options: &HubOptions| {
        let files = fetch_dataset("org/tiny", Some("english"), options, &Silent).expect("files");
        let content = |path: &PathBuf| String::from_utf8(std::fs::read(path).expect("a file")).expect("text");
        files.iter().map(|(split, path)| (split.clone(), content(path))).collect::<Vec<_>>()
    };
    let wanted = [("train", "PAR3"), ("test", "PAR1"), ("test", "PAR2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(read(&online), wanted);
    assert_eq!(read(&offline), wanted);
    for (config, part) in [(None, "english, french"), (Some("german"), "\"german\"")] {
        let error = fetch_dataset("org/tiny", config, &online, &Silent).expect_err("no such part").to_string();
        assert!(error.contains(part), "{error}");
    }
}
