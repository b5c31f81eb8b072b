use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-data-{}", std::process::id()));
    let path = folder.join(name);
    files::write_atomic(&path, bytes).expect("written");
    path
}

fn fields(name: &str, bytes: &[u8]) -> Vec<Value> {
    let rows = read_rows(&file(name, bytes), 0).unwrap_or_else(|error| panic!("{name}: {error}"));
    rows.rows.into_iter().map(|row| Value::Object(row.fields)).collect()
}

fn refused(name: &str, bytes: &[u8]) -> String {
    read_rows(&file(name, bytes), 0).expect_err(name).to_string()
}

#[test]
fn json_in_each_of_its_shapes_gives_the_same_rows() {
    let expected = vec![json!({"b": 1, "a": "x"}), json!({"b": 2, "a": "ü\n"})];
    let list = r#"[ {"b": 1, "a": "x"},
 {"b": 2,
  "a": "ü\n"} ]"#;
    for (name, text) in [
        ("shapes-lines.jsonl", "{\"b\": 1, \"a\": \"x\"}\n\n{\"b\": 2, \"a\": \"ü\\n\"}"),
        ("shapes-lines.json", "{\"b\": 1, \"a\": \"x\"}\n{\"b\": 2, \"a\": \"ü\\n\"}\n"),
        ("shapes-list.json", list),
        ("shapes-data.json", &format!("{{\"version\": 1, \"data\": {list}}}")),
        ("shapes-rows.json", &format!("{{\"rows\": {list}, \"features\": []}}")),
        ("shapes-columns.json", r#"{"b": [1, 2], "a": ["x", "ü\n"]}"#),
    ] {
        assert_eq!(fields(name, text.as_bytes()), expected, "{name}");
    }
    let rows = read_rows(&file("lines-of-a-list.json", list.as_bytes()), 0).expect("rows");
    assert_eq!(rows.rows.iter().map(|row| (row.line, row.index)).collect::<Vec<_>>(), [(1, 0), (2, 1)]);
    assert_eq!(fields("one.json", br#"{"question": "q", "options": ["a"]}"#).len(), 1);
    assert_eq!(fields("one-line.jsonl", br#"{"options": ["a", "b"]}"#), [json!({"options": ["a", "b"]})]);
}

#[test]
fn the_order_of_fields_and_long_numbers_survive() {
    let rows = read_rows(&file("order.jsonl", br#"{"z": 0.1, "a": 12345678901234567, "m": -1}"#), 0).expect("rows");
    let row = rows.rows.first().expect("a row");
    assert_eq!(serde_json::to_string(&row.fields).expect("text"), r#"{"z":0.1,"a":12345678901234567,"m":-1}"#);
}

#[test]
fn broken_json_names_line_and_field() {
    let error = refused("broken.jsonl", b"{\"a\": 1}\n{\"a\": 1, \"b\": nope}\n");
    assert!(error.contains("broken.jsonl, line 2") && error.contains("field \"b\""), "{error}");
    let error = refused("scalar.jsonl", b"{\"a\": 1}\n7\n");
    assert!(error.contains("line 2") && error.contains("expected an object"), "{error}");
    let error = refused("twice.jsonl", b"{\"a\": 1, \"a\": 2}\n");
    assert!(error.contains("field \"a\"") && error.contains("stands twice"), "{error}");
    let error = refused("broken-list.json", b"[{\"a\": 1},\n{\"a\": }]");
    assert!(error.contains("line 2"), "{error}");
    let error = refused("open-list.json", b"[{\"a\": 1},\n{\"a\": 2}\n");
    assert!(error.contains("line 3") && error.contains("does not end"), "{error}");
    let error = refused("behind.json", b"[{\"a\": 1}] x");
    assert!(error.contains("behind the list"), "{error}");
    let error = refused("scalars.json", b"[{\"a\": 1}, 2]");
    assert!(error.contains("not an object"), "{error}");
    let error = refused("columns.json", br#"{"a": [1, 2], "b": [1]}"#);
    assert!(error.contains("\"b\" has 1 values"), "{error}");
}

#[test]
fn delimited_text_keeps_quotes_and_line_breaks_and_knows_its_lines() {
    let text = b"id,text,n,x,flag\r\n1,\"a, \"\"b\"\"\r\nc\",7,0.5,True\r\n02,plain,,2,False\r\n";
    let rows = read_rows(&file("quoted.csv", text), 0).expect("rows");
    assert_eq!(rows.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4]);
    let found: Vec<Value> = rows.rows.iter().map(|row| Value::Object(row.fields.clone())).collect();
    assert_eq!(
        found,
        [
            json!({"id": "1", "text": "a, \"b\"\r\nc", "n": 7, "x": 0.5, "flag": true}),
            json!({"id": "02", "text": "plain", "n": null, "x": 2.0, "flag": false}),
        ]
    );
    assert_eq!(fields("tabs.tsv", b"a\tb, c\n\"q\"\t1\n"), [json!({"a": "q", "b, c": 1})]);
    let blank = read_rows(&file("blank.csv", b"a,b\n\n1,2\n\n\n3,4\n"), 0).expect("rows");
    assert_eq!(blank.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 6]);
    // CrowS-Pairs begins with a column without a name.
    assert_eq!(fields("unnamed.csv", b",a\n0,x\n"), [json!({"Unnamed: 0": 0, "a": "x"})]);
    // Words that other readers take for missing values are words.
    assert_eq!(
        fields("words.csv", b"a\nNA\nNone\nnan\n"),
        [json!({"a": "NA"}), json!({"a": "None"}), json!({"a": "nan"})]
    );
}

#[test]
fn ragged_rows_and_doubled_names_are_told() {
    let error = refused("short.csv", b"a,b,c\n1,2,3\n4,5\n");
    assert!(error.contains("short.csv, line 3") && error.contains("field \"c\""), "{error}");
    let error = refused("long.csv", b"a,b\n1,2,3\n");
    assert!(error.contains("line 2") && error.contains("3 fields under 2 column names"), "{error}");
    let error = refused("doubled.csv", b"a,b,a\n1,2,3\n");
    assert!(error.contains("doubled.csv line 1") && error.contains("two columns are called \"a\""), "{error}");
}

#[test]
fn encodings_are_read_or_named() {
    let expected = [json!({"a": "é"})];
    assert_eq!(fields("bom.jsonl", b"\xef\xbb\xbf{\"a\": \"\xc3\xa9\"}\r\n"), expected);
    assert_eq!(fields("bom.csv", b"\xef\xbb\xbfa\r\n\xc3\xa9\r\n"), expected);
    let text = "{\"a\": \"é\"}\n";
    let little: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    assert_eq!(fields("little.jsonl", &little), expected);
    assert_eq!(fields("big.json", &big), expected);
    let error = refused("no-mark.jsonl", little.get(2..).expect("text"));
    assert!(error.contains("UTF-16") && error.contains("save it as UTF-8"), "{error}");
    let error = refused("odd.jsonl", little.get(..little.len() - 1).expect("text"));
    assert!(error.contains("UTF-16 text is broken"), "{error}");
    // Latin-1 in the second row of a UTF-8 file.
    let error = refused("mixed.jsonl", b"{\"a\": \"\xc3\xa9\"}\n{\"a\": \"\xe9\"}\n");
    assert!(error.contains("mixed.jsonl, line 2") && error.contains("0xe9"), "{error}");
    let error = refused("mixed.csv", b"a,b\n\xc3\xa9,1\nx,\xe9\n");
    assert!(error.contains("mixed.csv, line 3") && error.contains("field \"b\""), "{error}");
    let error = refused("mixed.json", b"[{\"a\": 1},\n{\"a\": \"\xe9\"}]");
    assert!(error.contains("mixed.json line 2") && error.contains("not UTF-8"), "{error}");
    let error = refused("mixed.txt", b"fine\n\xe9\n");
    assert!(error.contains("mixed.txt, line 2"), "{error}");
}

#[test]
fn empty_files_and_unknown_names_are_refused() {
    for name in ["empty.json", "empty.jsonl", "empty.csv", "empty.tsv", "empty.txt"] {
        assert!(refused(name, b"").contains("holds no rows"), "{name}");
    }
    assert!(refused("header.csv", b"a,b\n").contains("holds no rows"));
    assert!(refused("empty-list.json", b"[]").contains("holds no rows"));
    let error = refused("rows.xlsx", b"PK");
    assert!(error.contains("known are .json"), "{error}");
    let error = read_rows(&std::env::temp_dir().join("counterpath-not-there.jsonl"), 0).expect_err("missing");
    assert!(error.to_string().contains("cannot read"), "{error}");
    assert!(refused("no.parquet", b"not parquet").contains("no.parquet"));
}

#[test]
fn bad_rows_are_listed_within_the_limit_and_refused_beyond_it() {
    let text = b"{\"a\": 0}\nx\n{\"a\": 2}\n{\"a\": }\n{\"a\": 4}\n";
    let path = file("bad.jsonl", text);
    let mut rows = read_rows(&path, 2).expect("two may be bad");
    assert_eq!(rows.rows.iter().map(|row| (row.line, row.index)).collect::<Vec<_>>(), [(1, 0), (3, 2), (5, 4)]);
    assert_eq!(rows.bad.len(), 2);
    assert!(rows.bad.iter().all(|bad| bad.contains("bad.jsonl, line ")), "{:?}", rows.bad);
    let error = read_rows(&path, 1).expect_err("one may be bad").to_string();
    assert!(error.contains("2 rows cannot be used, and at most 1") && error.contains("line 2"), "{error}");
    // What a task refuses counts against the same limit.
    let even = |record: &Record<'_>| match record.integer("a")? {
        2 => Err(record.refuse("a", "is 2")),
        other => Ok(other),
    };
    assert_eq!(rows.clone().convert(3, even).expect("three may be bad"), [0, 4]);
    let error = rows.clone().convert(2, even).expect_err("a third one").to_string();
    assert!(error.contains("3 rows cannot be used"), "{error}");
    assert_eq!(rows.convert(9, even).map(|_| rows.bad.len()).expect("within the limit"), 3);
    let none = read_rows(&file("none.jsonl", b"x\ny\n"), 5).expect_err("no row is left").to_string();
    assert!(none.contains("none of its rows"), "{none}");
}

#[test]
fn fields_are_typed_and_their_errors_name_them() {
    let text = r#"{"t": "x", "n": "3", "l": ["a", 1], "b": "True", "z": null, "label": 4}"#;
    let rows = read_rows(&file("typed.jsonl", text.as_bytes()), 0).expect("rows");
    let record = rows.records().next().expect("a row");
    assert_eq!((record.text("t").expect("text"), record.integer("n").expect("digits")), ("x", 3));
    assert!(record.boolean("b").expect("truth"));
    for (error, words) in [
        (record.text("n2").expect_err("missing"), "it is missing"),
        (record.text("lable").expect_err("misspelt"), "did you mean \"label\""),
        (record.text("z").expect_err("null"), "it is null or missing"),
        (record.text("label").expect_err("a number"), "4 is not a text"),
        (record.texts("l").expect_err("mixed"), "element 1, 1, is not a text"),
        (record.label("label", 4).expect_err("one too many"), "label 4 is outside the 4 options (0 to 3)"),
        (record.one_of("t", &["y", "z"]).expect_err("neither"), "\"x\" is none of y, z"),
        (record.integer("t").expect_err("text"), "\"x\" is not an integer"),
    ] {
        let error = error.to_string();
        assert!(error.contains("typed.jsonl, line 1: field") && error.contains(words), "{error}");
    }
}

#[test]
fn gzip_and_plain_lines_are_read() {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"a\": 1}\n").expect("packed");
    assert_eq!(fields("packed.jsonl.gz", &packed.finish().expect("packed")), [json!({"a": 1})]);
    assert_eq!(fields("lines.txt", b"one\r\n\r\n two \n"), [json!({"text": "one"}), json!({"text": " two "})]);
}

#[test]
fn equal_bytes_have_equal_digests_whatever_the_name() {
    let digest = |name, bytes: &[u8]| read_rows(&file(name, bytes), 0).expect("rows").digest;
    assert_eq!(digest("d1.jsonl", b"{\"a\": 1}"), digest("d2.json", b"{\"a\": 1}"));
    assert_ne!(digest("d1.jsonl", b"{\"a\": 1}"), digest("d3.json", b"{\"a\": 2}"));
}

#[test]
fn parquet_of_lists_and_structures_is_json() {
    // Written by pyarrow, as the hub's files are: a struct of lists, a list of lists, 8-bit integers, a null.
    let rows = read_rows(&fixture("nested.parquet"), 0).expect("rows");
    let found: Vec<Value> = rows.rows.iter().map(|row| Value::Object(row.fields.clone())).collect();
    assert_eq!(
        found,
        [
            json!({
                "question": "Is the sky green?", "label": 1, "score": 0.5,
                "choices": {"text": ["no", "yes"], "label": ["A", "B"]}, "nested": [["a"], []], "flag": true
            }),
            json!({
                "question": null, "label": 0, "score": -2.0,
                "choices": {"text": ["é"], "label": ["A"]}, "nested": [["b", "c"]], "flag": false
            }),
        ]
    );
    assert_eq!(rows.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 2]);
    let bytes = read_rows(&fixture("bytes.parquet"), 1).expect("one row is bad");
    assert!(bytes.bad[0].contains("bytes.parquet, line 2: field \"text\""), "{:?}", bytes.bad);
    let error = read_rows(&fixture("zstd.parquet"), 0).expect_err("another codec").to_string();
    assert!(error.contains("zstd.parquet"), "{error}");
}

#[test]
fn rows_of_unequal_fields_are_aligned_as_tables_are() {
    let mut rows = read_rows(&file("ragged.jsonl", b"{\"a\": 1, \"b\": 2}\n{\"c\": 3, \"a\": 4}\n"), 0).expect("rows");
    rows.align();
    let texts: Vec<String> = rows.rows.iter().map(|row| Value::Object(row.fields.clone()).to_string()).collect();
    assert_eq!(texts, [r#"{"a":1,"b":2,"c":null}"#, r#"{"a":4,"b":null,"c":3}"#]);
}

#[test]
fn a_table_without_names_is_text_under_given_ones() {
    let path = file("bare.csv", b"1.50,\"a,b\"\n2,c\n");
    let rows = read_rows_under(&path, &["x", "y"], 0).expect("rows");
    let found: Vec<Value> = rows.rows.iter().map(|row| Value::Object(row.fields.clone())).collect();
    assert_eq!(found, [json!({"x": "1.50", "y": "a,b"}), json!({"x": "2", "y": "c"})]);
    assert!(read_rows_under(&path, &["x"], 0).is_err());
}

#[test]
fn damaged_parquet_is_refused_and_not_believed() {
    let whole = files::read(&fixture("nested.parquet"), 1 << 20).expect("fixture");
    for end in (0..whole.len()).step_by(97) {
        refused("cut.parquet", whole.get(..end).expect("a part"));
    }
    // One byte changed: an error, or rows; never more.
    for at in (0..whole.len()).step_by(13) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        let _ = read_rows(&file("damaged.parquet", &damaged), 2);
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/harness").join(name)
}
