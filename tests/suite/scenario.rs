//! Scenarios: what one parsed graph generates, expects and permits.

use std::collections::{BTreeMap, BTreeSet};

use counterpath::base::Seed;
use counterpath::scenario::exact::Features;
use counterpath::scenario::{
    Check, Contrast, DoKind, Draw, EvalSet, Expectation, Expected, Identification, Moved, Scenario, Split, TRAIN,
};

const SPLITS: [Split; 3] = [Split::Tuning, Split::Discovery, Split::Evaluation];

/// Where the repository keeps its frozen sets.
fn eval_sets() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("eval_sets")
}

/// The embedded model's language: a token is what stands between spaces.
fn word_level(text: &str) -> Vec<std::ops::Range<usize>> {
    let start = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().map(|word| start(word)..start(word) + word.len()).collect()
}

fn hiring() -> Scenario {
    Scenario::builtin("hiring").expect("hiring ships")
}

/// The hiring scenario with one piece of its file exchanged.
fn hiring_with(old: &str, new: &str) -> Result<Scenario, String> {
    altered(&hiring(), old, new)
}

fn altered(scenario: &Scenario, old: &str, new: &str) -> Result<Scenario, String> {
    let text = scenario.scenario_text();
    assert!(text.contains(old), "the scenario file no longer says {old:?}");
    Scenario::parse("scenario.toml", &text.replacen(old, new, 1), scenario.prompt_text()).map_err(|e| e.to_string())
}

#[test]
fn the_shortcut_pays_in_training_and_hurts_when_shifted() {
    let scenario = hiring();
    let accuracy = |features, environment| scenario.bayes_accuracy(0, features, TRAIN, environment).expect("labelled");
    // By hand: years agrees with the pool in 0.75, the decision with the pool in 0.75 · 0.98 + 0.25 · 0.85 = 0.9475,
    // gender with the pool in 0.95; the best predictor on everything follows gender throughout.
    assert!((accuracy(Features::Legitimate, TRAIN) - (0.5 * (0.75 * 0.98 + 0.25 * 0.15) * 2.0)).abs() < 1e-12);
    assert!((accuracy(Features::Legitimate, "shifted") - 0.7725).abs() < 1e-12, "legitimate causes hold everywhere");
    let train = accuracy(Features::All, TRAIN);
    assert!((train - (0.95 * 0.9475 + 0.05 * 0.0525)).abs() < 1e-12, "{train}");
    assert!((accuracy(Features::All, "shifted") - (1.0 - train)).abs() < 1e-12, "the shortcut is reversed");
    assert!((scenario.shortcut_worth(0, TRAIN).expect("labelled") - (train - 0.7725)).abs() < 1e-12);
}

#[test]
fn every_shortcut_of_the_embedded_language_pays_and_is_reversed() {
    for id in ["hiring", "tickets", "admissions"] {
        let scenario = Scenario::builtin(id).expect(id);
        let accuracy = |features, environment| scenario.bayes_accuracy(0, features, TRAIN, environment).expect("label");
        let (all, legitimate) = (accuracy(Features::All, TRAIN), accuracy(Features::Legitimate, TRAIN));
        let shifted = accuracy(Features::Legitimate, "shifted");
        assert!(all > 0.85 && (0.7..0.82).contains(&legitimate), "{id}: {all} {legitimate}");
        assert!(accuracy(Features::All, "shifted") < 0.2 && shifted > 0.65, "{id}: {shifted}");
        assert!(scenario.shortcut_worth(0, TRAIN).expect("label") > 0.05, "{id}");
        assert!(scenario.shortcut_worth(0, "shifted").expect("label") < -0.4, "{id}");
    }
}

#[test]
fn do_regenerates_descendants_and_keeps_the_rest() {
    let scenario = hiring();
    let draw = Draw::train(Split::Evaluation, Seed::new(3));
    let pairs = scenario.pairs(draw, &Contrast::total("gender", "answer"), 60).expect("pairs");
    for pair in &pairs {
        let (a, b) = (&pair.factual.values, &pair.counterfactual.values);
        for variable in ["gender", "name", "pronoun"] {
            assert_ne!(a[variable], b[variable], "{variable} follows gender in {}", pair.id);
        }
        for variable in ["years", "decision"] {
            assert_eq!(a[variable], b[variable], "{variable} is no descendant in {}", pair.id);
        }
        assert_eq!(pair.expectation, Expectation::Invariant);
        assert_eq!(pair.path.as_deref(), Some("gender → name → answer, gender → pronoun → answer"));
        let name = |side: &counterpath::scenario::Prompt| side.text.contains(&format!("{} ", side.values["name"]));
        assert!(name(&pair.factual) && name(&pair.counterfactual));
    }
    // A word swap moves its word alone: the pronoun stays behind.
    let swap = Contrast { variable: "name".into(), moved: Moved::Word, answer: "answer".into() };
    for pair in scenario.pairs(draw, &swap, 60).expect("pairs") {
        assert_ne!(pair.factual.values["name"], pair.counterfactual.values["name"]);
        assert_eq!(pair.factual.values["pronoun"], pair.counterfactual.values["pronoun"]);
        assert_eq!(pair.intervention.map(|done| done.kind), Some(DoKind::WordSwap));
    }
}

#[test]
fn follow_pairs_carry_the_label_of_legitimate_causes() {
    let scenario = hiring();
    let draw = Draw::train(Split::Tuning, Seed::new(4));
    let pairs = scenario.pairs(draw, &Contrast::total("years", "answer"), 40).expect("pairs");
    for pair in pairs {
        let label = usize::from(pair.counterfactual.values["years"] == "nine");
        assert_eq!(pair.expectation, Expectation::Follow { label });
        assert_eq!(pair.factual.values["name"], pair.counterfactual.values["name"]);
    }
}

#[test]
fn the_do_node_forgets_its_former_parents() {
    // Under do(gender) the value that gender is set to must not predict, nor be predicted by, what pool predicts.
    let scenario = hiring();
    let scm = scenario.scm();
    let index = |name: &str| scm.index(name).expect(name);
    let (pool, gender, name) = (index("pool"), index("gender"), index("name"));
    let words = counterpath::scenario::Words::All;
    let mut counts = [[0.0f64; 2]; 2];
    for unit in 0..4000u32 {
        let noise = scm.noise(&Seed::new(5).fork(&unit.to_string()));
        let set = BTreeMap::from([(gender, (unit % 2) as usize)]);
        let world = scm.world(TRAIN, words, &noise, &set);
        counts[world[pool]][usize::from(world[name] >= 24)] += 1.0;
        let observed = scm.world(TRAIN, words, &noise, &BTreeMap::new());
        let again = scm.world(TRAIN, words, &noise, &BTreeMap::from([(gender, observed[gender])]));
        assert_eq!(observed, again, "setting the factual value changes nothing");
    }
    // Odds ratio of pool and the name's gender: 1 under do; its log has standard error √(Σ 1/n) ≈ 0.063.
    let log_odds = (counts[0][0] * counts[1][1] / (counts[0][1] * counts[1][0])).ln();
    assert!(log_odds.abs() < 5.0 * 0.064, "pool still predicts the name: log odds ratio {log_odds}");
    let joint = scm.distribution(TRAIN, words, &BTreeMap::new(), &[pool, gender]);
    assert!((joint[&vec![0, 0]] - 0.475).abs() < 1e-12, "while it does without do()");
}

#[test]
fn sampling_meets_enumeration() {
    let scenario = hiring();
    let n = 4000;
    let items = scenario.items("shifted", Split::Evaluation, n, Seed::new(6)).expect("items");
    let share = |condition: &dyn Fn(&BTreeMap<String, String>) -> bool| {
        items.iter().filter(|item| condition(&item.prompt.values)).count() as f64 / n as f64
    };
    let both = share(&|values| values["gender"] == "female" && values["decision"] == "hire");
    let scm = scenario.scm();
    let query = [scm.index("gender").expect("gender"), scm.index("decision").expect("decision")];
    let words = counterpath::scenario::Words::Of(Split::Evaluation);
    let exact = scm.distribution("shifted", words, &BTreeMap::new(), &query)[&vec![0, 1]];
    // Binomial standard error at most √(0.25 / 4000) = 0.0079.
    assert!((both - exact).abs() < 4.0 * 0.008, "{both} {exact}");
}

#[test]
fn one_altered_edge_changes_prompts_penalties_expectations_and_identification() {
    let declared = hiring();
    assert_eq!(declared.expectation("gender", "answer").expect("known"), Expected::Invariant);
    assert_eq!(declared.expectation("years", "answer").expect("known"), Expected::Follow);
    let penalties = |scenario: &Scenario| {
        let all = scenario.permitted_penalties().into_iter();
        all.map(|p| (p.contrast.name(), p.held.join(","), p.paths.join(", "))).collect::<Vec<_>>()
    };
    assert_eq!(
        penalties(&declared).iter().map(|p| p.0.as_str()).collect::<Vec<_>>(),
        ["gender", "name", "pronoun"],
        "years is legitimate: no penalty may close it"
    );
    // The number of years now follows gender: a legitimate path beside the spurious ones.
    let mediated = hiring_with(
        "parents = [\"pool\"]\nvalues = [\"two\", \"nine\"]\ntable = { a = [0.75, 0.25], b = [0.25, 0.75] }",
        "parents = [\"gender\"]\nvalues = [\"two\", \"nine\"]\ntable = { female = [0.75, 0.25], male = [0.25, 0.75] }",
    )
    .expect("parses");
    assert_eq!(mediated.expectation("gender", "answer").expect("known"), Expected::Split);
    let gender = penalties(&mediated).into_iter().find(|p| p.0.starts_with("gender")).expect("gender has a penalty");
    assert_eq!(gender.0, "gender.spurious");
    assert_eq!(gender.1, "years", "the mediator is held");
    assert!(!gender.2.contains("years"));
    let draw = Draw::train(Split::Tuning, Seed::new(8));
    let total = mediated.pairs(draw, &Contrast::total("gender", "answer"), 4).expect_err("mixed paths").to_string();
    assert!(total.contains("spurious or the legitimate part"), "{total}");
    let part = |moved| Contrast { variable: "gender".into(), moved, answer: "answer".into() };
    let direct = mediated.pairs(draw, &part(Moved::Spurious), 30).expect("direct");
    assert!(direct.iter().all(|p| p.factual.values["years"] == p.counterfactual.values["years"]));
    assert!(direct.iter().all(|p| p.factual.values["name"] != p.counterfactual.values["name"]));
    let indirect = mediated.pairs(draw, &part(Moved::Legitimate), 30).expect("indirect");
    assert!(indirect.iter().all(|p| p.factual.values["name"] == p.counterfactual.values["name"]));
    assert!(indirect.iter().any(|p| p.factual.values["years"] != p.counterfactual.values["years"]));
    // Prompts: without the edge gender → pronoun, do(gender) leaves the pronoun alone.
    let cut = hiring_with(
        "[variables.pronoun]\nrole = \"proxy\"\nparents = [\"gender\"]\nchoices = { female = [\"she\"], male = [\"he\"] }",
        "[variables.pronoun]\nrole = \"proxy\"\nvalues = [\"she\", \"he\"]",
    )
    .expect("parses");
    let pairs = cut.pairs(draw, &Contrast::total("gender", "answer"), 20).expect("pairs");
    assert!(pairs.iter().all(|p| p.factual.values["pronoun"] == p.counterfactual.values["pronoun"]));
    assert_eq!(pairs[0].path.as_deref(), Some("gender → name → answer"));
    // Identification: years → decision is confounded by the unseen pool until the edge pool → years goes.
    assert_eq!(
        declared.identify("years", "decision").expect("known"),
        Identification::Refused { open_path: "years ← pool (latent) → decision".into() }
    );
    assert_eq!(
        mediated.identify("years", "decision").expect("known"),
        Identification::BackDoor { sets: vec![vec!["gender".into()]] }
    );
    // An answer that may follow gender's proxies expects to.
    let followed = hiring_with("pronoun = \"spurious\"", "pronoun = \"legitimate\"").expect("parses");
    assert_eq!(followed.expectation("gender", "answer").expect("known"), Expected::Split);
}

#[test]
fn splits_share_no_name_no_framing_and_no_text() {
    let scenario = hiring();
    let mut texts: Vec<BTreeSet<String>> = Vec::new();
    for split in SPLITS {
        let items = scenario.items(TRAIN, split, 400, Seed::new(9)).expect("items");
        let names: BTreeSet<String> = items.iter().map(|item| item.prompt.values["name"].clone()).collect();
        texts.push(items.into_iter().map(|item| item.prompt.text).chain(names).collect());
    }
    assert!(texts[0].is_disjoint(&texts[1]) && texts[0].is_disjoint(&texts[2]) && texts[1].is_disjoint(&texts[2]));
}

#[test]
fn the_same_request_gives_the_same_items_whatever_else_is_drawn() {
    let scenario = hiring();
    let few = scenario.items(TRAIN, Split::Tuning, 5, Seed::new(1)).expect("items");
    let many = scenario.items(TRAIN, Split::Tuning, 50, Seed::new(1)).expect("items");
    assert_eq!(few[..], many[..5]);
    assert_ne!(few, scenario.items(TRAIN, Split::Tuning, 5, Seed::new(2)).expect("items"));
    let slots_hold = |prompt: &counterpath::scenario::Prompt| {
        prompt.slots.iter().all(|slot| {
            let name = slot.name.split('.').next().expect("a slot has a name");
            prompt.text[slot.start..slot.end] == prompt.values[name]
        })
    };
    assert!(many.iter().all(|item| slots_hold(&item.prompt)));
}

#[test]
fn a_bad_scenario_is_refused_with_line_and_remedy() {
    let error = |old: &str, new: &str| hiring_with(old, new).expect_err("must be refused");
    let line_of = |needle: &str| {
        let text = hiring();
        let text = text.scenario_text();
        format!("line {}:", 1 + text[..text.find(needle).expect("in the file")].matches('\n').count())
    };
    let cycle = error("parents = [\"pool\", \"years\"]", "parents = [\"pool\", \"decision\"]");
    assert!(cycle.contains("`decision → decision`"), "{cycle}");
    let cycle = error(
        "[variables.gender]\nrole = \"protected\"\nparents = [\"pool\"]",
        "[variables.gender]\nrole = \"protected\"\nparents = [\"name\"]",
    );
    assert!(cycle.contains("gender → name → gender") || cycle.contains("name → gender → name"), "{cycle}");
    let unknown = error("parents = [\"pool\", \"years\"]", "parents = [\"pool\", \"yeers\"]");
    assert!(unknown.contains("unknown variable `yeers`") && unknown.contains("did you mean `years`?"), "{unknown}");
    assert!(unknown.contains(&line_of("parents = [\"pool\", \"years\"]")), "{unknown}");
    let table = error("b = [0.25, 0.75]", "b = [0.25, 0.65]");
    assert!(table.contains("sum to 0.9") && table.contains(&line_of("table = { a = [0.75")), "{table}");
    let row = error("\"b,nine\"", "\"b,nyne\"");
    assert!(row.contains("did you mean `b,nine`?"), "{row}");
    let key = error("question =", "qestion =");
    assert!(key.contains("unknown key `qestion`: did you mean `question`?") && key.contains("line 3:"), "{key}");
    let role = error("role = \"causal\"", "role = \"causel\"");
    assert!(role.contains("did you mean `causal`?") && role.contains(&line_of("role = \"causal\"")), "{role}");
    let slot = error("pronoun = \"spurious\", ", "");
    assert!(slot.contains("prompts/hiring.toml") && slot.contains("no parent of `answer`"), "{slot}");
    let label = error("years = \"legitimate\" }", "years = \"legitimate\", pool = \"spurious\" }");
    assert!(label.contains("`pool` is latent"), "{label}");
    let pools = error("evaluation = 8", "evaluation = 9");
    assert!(pools.contains("25 words") && pools.contains("24"), "{pools}");
    let environment = hiring().items("shiftd", Split::Tuning, 1, Seed::new(1)).expect_err("unknown").to_string();
    assert!(environment.contains("did you mean `shifted`?"), "{environment}");
}

#[test]
fn paraphrases_name_what_they_rephrase() {
    let scenario = hiring();
    let draw = Draw::train(Split::Evaluation, Seed::new(3));
    let contrast = Contrast::total("gender", "answer");
    let pairs = scenario.pairs(draw, &contrast, 20).expect("pairs");
    let again = scenario.paraphrases(draw, &contrast, 20).expect("paraphrases");
    assert_eq!(again.len(), pairs.len(), "every evaluation framing has a paraphrase");
    for (pair, other) in pairs.iter().zip(&again) {
        assert_eq!(other.paraphrase_of.as_ref(), Some(&pair.id));
        assert_eq!(other.factual.values, pair.factual.values);
        assert_ne!(other.factual.text, pair.factual.text);
    }
    for pair in scenario.reframed(draw, 20).expect("reframed") {
        assert_eq!(pair.factual.values, pair.counterfactual.values);
        assert_ne!(pair.factual.text, pair.counterfactual.text);
    }
}

#[test]
fn the_shipped_scenarios_lint_clean() {
    for id in ["hiring", "tickets", "admissions"] {
        let findings = Scenario::builtin(id).expect(id).lint(Some(&word_level)).expect("lints");
        assert!(findings.is_empty(), "{id}: {findings:#?}");
    }
    let findings = Scenario::builtin("stories").expect("stories").lint(None).expect("lints");
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn the_linter_sees_what_is_planted() {
    let tickets = Scenario::builtin("tickets").expect("tickets");
    let lint = |scenario: &str, prompts: &str| {
        let scenario = Scenario::parse("scenario.toml", scenario, prompts).expect("parses");
        scenario
            .lint(Some(&word_level))
            .expect("lints")
            .into_iter()
            .map(|f| (f.check, f.place))
            .collect::<BTreeSet<_>>()
    };
    let (scenario, prompts) = (tickets.scenario_text(), tickets.prompt_text());
    let with_prompt = |old: &str, new: &str| {
        assert!(prompts.contains(old), "{old}");
        lint(scenario, &prompts.replacen(old, new, 1))
    };
    let found = |check, place: &str| BTreeSet::from([(check, place.to_owned())]);
    // A literal article does not follow its word.
    assert_eq!(with_prompt("we found {a problem}", "we found a {problem}"), found(Check::Article, "tune-2"));
    // A framing of the evaluation split that repeats one of the tuning split.
    let copied = with_prompt(
        "note from {name} 's {device} : {a problem} in room one . state :",
        "{name} writes , we found {a problem} . sent from my {device} . The ticket is",
    );
    assert!(copied.contains(&(Check::Leak, "eval-4".to_owned())), "{copied:?}");
    // A verb that does not fit, and two spaces.
    assert_eq!(with_prompt("{name} has written", "{name} have written"), found(Check::Agreement, "eval-5"));
    assert_eq!(with_prompt("{name} has written", "{name}  has written"), found(Check::Form, "eval-5"));
    // A word in the pools of two splits, and a word of two tokens.
    let words = lint(&scenario.replacen("  \"fire\", \"crash\"", "  \"fire\", \"idea\"", 1), prompts);
    assert!(words.contains(&(Check::Leak, "problem".to_owned())), "{words:?}");
    let long = lint(&scenario.replacen("\"blackout\"", "\"black out\"", 1), prompts);
    assert!(!long.is_empty() && long.iter().all(|(check, _)| *check == Check::Alignment), "{long:?}");
}

#[test]
fn frozen_sets_are_what_their_scenarios_generate() {
    for id in Scenario::builtin_ids() {
        let folder = eval_sets().join(id);
        let frozen = EvalSet::load(&folder).unwrap_or_else(|error| panic!("{error}"));
        let drawn = EvalSet::builtin(id).expect(id);
        assert_eq!(frozen.digest, drawn.digest, "{id}: freeze again and say why in the changelog");
        assert_eq!(frozen.items, drawn.items);
        assert_eq!(frozen.pairs, drawn.pairs);
        let scratch = std::env::temp_dir().join(format!("counterpath-freeze-{id}-{}", std::process::id()));
        drawn.freeze(&scratch).expect("freezes");
        for name in ["items.jsonl", "pairs.jsonl", "digest"] {
            let read = |folder: &std::path::Path| std::fs::read(folder.join(name)).expect("file");
            assert_eq!(read(&scratch), read(&folder), "{id}/{name}");
            assert!(read(&folder).len() < 450_000, "{id}/{name} grew");
        }
        // The written folder stands alone, and a changed byte is noticed.
        assert_eq!(EvalSet::load(&scratch).expect("loads").digest, drawn.digest);
        let pairs = std::fs::read_to_string(scratch.join("pairs.jsonl")).expect("pairs");
        std::fs::write(scratch.join("pairs.jsonl"), pairs.replacen("factual", "Factual", 1)).expect("write");
        let error = EvalSet::load(&scratch).expect_err("altered").to_string();
        assert!(error.contains("digest"), "{error}");
        std::fs::remove_dir_all(&scratch).expect("clean up");
    }
}

#[test]
fn an_eval_set_has_its_parts_and_enough_clusters() {
    for id in Scenario::builtin_ids() {
        let set = EvalSet::builtin(id).expect(id);
        let parts = [set.contrasts(), set.paraphrases(), set.reframed(), set.word_swaps()];
        assert!(parts.iter().take(3).all(|part| !part.is_empty()), "{id}");
        assert_eq!(set.word_swaps().is_empty(), id == "tickets", "its only proxy is a legitimate one");
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), set.pairs.len());
        let ids: BTreeSet<&String> =
            set.pairs.iter().map(|pair| &pair.id).chain(set.items.iter().map(|item| &item.id)).collect();
        assert_eq!(ids.len(), set.pairs.len() + set.items.len(), "{id}: ids are unique");
        for pair in set.paraphrases() {
            assert!(pair.paraphrase_of.as_ref().is_some_and(|of| ids.contains(of)));
        }
        for environment in set.scenario.environments() {
            let clusters: BTreeSet<&str> =
                set.items_of(&environment).iter().map(|item| item.cluster.as_str()).collect();
            assert!(clusters.len() >= 8, "{id}/{environment}: {} clusters", clusters.len());
        }
    }
}

/// A card says what the scenario says: its question, every edge, and the accuracies that its mechanisms imply.
#[test]
fn cards_tell_the_truth() {
    for id in Scenario::builtin_ids() {
        let scenario = Scenario::builtin(id).expect(id);
        let card = std::fs::read_to_string(eval_sets().join(id).join("card.md")).expect("card");
        for heading in ["## Question", "## Graph", "## Provenance", "## Limits"] {
            assert!(card.contains(heading), "{id}: {heading}");
        }
        assert!(card.contains(&scenario.question), "{id}: the question as the scenario file has it");
        let graph = scenario.graph();
        let edges: BTreeSet<String> =
            graph.edges().into_iter().map(|(from, to)| graph.path_text(&[from, to])).collect();
        let told: BTreeSet<String> = card
            .lines()
            .filter_map(|line| line.strip_prefix("- `")?.split('`').next().filter(|edge| edge.contains('→')))
            .map(str::to_owned)
            .collect();
        assert_eq!(told, edges, "{id}");
        for (name, features) in [("everything", Features::All), ("legitimate causes", Features::Legitimate)] {
            for environment in scenario.environments() {
                let share = scenario.bayes_accuracy(0, features, TRAIN, &environment).expect("labelled");
                let row = format!("| {name} | {environment} | {:.1} % |", 100.0 * share);
                assert!(card.contains(&row), "{id}: the card lacks {row:?}");
            }
        }
    }
}
