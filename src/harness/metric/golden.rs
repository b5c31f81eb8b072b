//! Golden cases: made-up answers and the value that a metric's reference gives on them. `counterpath explain` prints them, and
//! a test computes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What stands in `golden.json`, which `scripts/choice_metrics_golden.py` writes.
#[derive(Deserialize)]
struct File {
    data: BTreeMap<String, Vec<Value>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    metric: String,
    data: String,
    value: f64,
    source: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

/// A value that a metric must have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GoldenCase {
    /// The questions' name in `src/harness/metric/golden.json`.
    pub data: String,
    /// How many they are.
    pub questions: usize,
    /// The metric's arguments.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
    /// The value.
    pub value: f64,
    /// What computed it.
    pub source: String,
}

fn file() -> Option<File> {
    serde_json::from_str(include_str!("golden.json")).ok()
}

/// The golden cases of a metric; empty where there are none.
pub fn golden_cases(metric: &str) -> Vec<GoldenCase> {
    let Some(File { data, cases }) = file() else { return Vec::new() };
    let of = |case: Case| GoldenCase {
        questions: data.get(&case.data).map_or(0, Vec::len),
        data: case.data,
        arguments: case.arguments,
        value: case.value,
        source: case.source,
    };
    cases.into_iter().filter(|case| case.metric == metric).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::metric::{MetricUse, TASK_METRICS, add_unconditional, task_metric};
    use crate::harness::question::{Answered, Question, Request, Response, Target};
    use crate::stats::{Bootstrap, Statistic, estimate};

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    }

    fn texts(value: &Value) -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    }

    fn likelihood(loglikelihood: f64, tokens: usize, is_greedy: bool) -> Response {
        let logprobs = vec![(loglikelihood / tokens as f64) as f32; tokens];
        Response::Loglikelihood { loglikelihood, is_greedy, logprobs }
    }

    fn answered(id: usize, given: &Value) -> Answered {
        let id = format!("{id:03}");
        let choices = texts(&given["choices"]);
        let mut question = Question {
            cluster: id.clone(),
            id,
            doc_id: 0,
            doc: Map::new(),
            requests: vec![],
            target: Target::None,
            columns: BTreeMap::new(),
            variant: None,
            choices,
        };
        let mut responses = Vec::new();
        let ask =
            |continuation: &str| Request::Loglikelihood { context: "Q:".into(), continuation: continuation.into() };
        if !question.choices.is_empty() {
            let lls = numbers(&given["loglikelihoods"]);
            for (index, ll) in lls.iter().enumerate() {
                let tokens = given["tokens"][index].as_u64().unwrap_or(1) as usize;
                responses.push(likelihood(*ll, tokens, given["greedy"][index].as_bool().unwrap_or(false)));
            }
            question.requests = question.choices.iter().map(|choice| ask(choice)).collect();
            let indexes = numbers(&given["right"]).into_iter().map(|index| index as usize).collect();
            question.target = Target::Choices { indexes };
            for (context, name) in [("", "alone"), ("Answer:", "behind_answer")] {
                let set = numbers(&given[name]);
                if !set.is_empty() {
                    add_unconditional(&mut question, context);
                    responses.extend(set.into_iter().map(|ll| likelihood(ll, 1, false)));
                }
            }
        } else if let Some(text) = given["whole"].as_str() {
            question.requests = vec![Request::Rolling { text: text.into() }];
            responses
                .push(Response::Rolling { loglikelihood: given["loglikelihood"].as_f64().expect("number"), tokens: 9 });
        } else if let Some(text) = given["text"].as_str() {
            question.target = Target::Texts { texts: texts(&given["wanted"]) };
            responses.push(Response::Text { text: text.into() });
        } else {
            question.requests = vec![ask(" word")];
            let greedy = given["greedy"].as_bool().expect("greedy");
            responses.push(likelihood(given["loglikelihood"].as_f64().expect("number"), 2, greedy));
        }
        Answered { question, responses, filtered: BTreeMap::new() }
    }

    fn questions(name: &str) -> Vec<Answered> {
        let file = file().expect("golden.json");
        file.data[name].iter().enumerate().map(|(id, given)| answered(id, given)).collect()
    }

    fn value(metric: &str, arguments: &Map<String, Value>, answered: &[Answered]) -> (Statistic, f64) {
        let used = MetricUse { id: metric.into(), arguments: arguments.clone() };
        let samples = (task_metric(metric).expect(metric).collect)(answered, &used).expect(metric);
        assert_eq!(samples.len(), 1, "{metric}");
        assert_eq!(samples[0].items.len(), answered.len(), "{metric} keeps every question");
        (samples[0].statistic.clone(), samples[0].statistic.evaluate(&samples[0].items).expect(metric))
    }

    #[test]
    fn every_metric_meets_its_golden_cases() {
        let cases = file().expect("golden.json").cases;
        assert!(cases.len() > 50);
        for case in &cases {
            let (_, found) = value(&case.metric, &case.arguments, &questions(&case.data));
            let tolerance = 1e-12 * case.value.abs().max(1.0);
            assert!(
                (found - case.value).abs() <= tolerance,
                "{} on {}: {found}, golden {}",
                case.metric,
                case.data,
                case.value
            );
        }
    }

    #[test]
    fn no_metric_of_choices_is_without_a_golden_case() {
        let own = TASK_METRICS.iter().take(5).copied().flatten();
        let missing: Vec<&str> = own.map(|metric| metric.id).filter(|id| golden_cases(id).is_empty()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_value_has_an_interval() {
        for case in file().expect("golden.json").cases {
            let used = MetricUse { id: case.metric.clone(), arguments: case.arguments.clone() };
            let samples =
                (task_metric(&case.metric).expect("known").collect)(&questions(&case.data), &used).expect("sample");
            let bootstrap = Bootstrap { replicates: 300, level: 0.95, seed: crate::base::Seed::new(5) };
            let estimate = estimate(&samples[0].items, &samples[0].statistic, &bootstrap);
            let interval = estimate.interval.unwrap_or_else(|| panic!("{}: {estimate:?}", case.metric));
            assert!(interval.low <= interval.high, "{}: {interval:?}", case.metric);
        }
    }

    #[test]
    fn what_is_not_a_number_is_counted_and_not_dropped() {
        let mut answered = questions("four");
        if let Response::Loglikelihood { loglikelihood, .. } = &mut answered[3].responses[1] {
            *loglikelihood = f64::NAN;
        }
        let collect = |metric: &str| {
            let found = (task_metric(metric).expect("known").collect)(&answered, &MetricUse::plain(metric));
            found.expect("sample").remove(0)
        };
        let accuracy = collect("acc@lm-eval");
        assert_eq!((accuracy.items.len(), accuracy.items[3].value), (40, 0.0));
        assert!(
            accuracy.note.expect("note").starts_with("1 of 40 questions have a log-likelihood that is not a number")
        );
        for metric in ["brier_score@lm-eval", "ece@mass10", "truthfulqa.mc2@lm-eval", "mcc@lm-eval"] {
            let reason = collect(metric).undefined.expect(metric);
            assert!(reason.contains("1 of 40 questions"), "{metric}: {reason}");
        }
        let (_, share) = value("share_not_finite@counterpath", &Map::new(), &answered);
        assert_eq!(share, 0.025);
    }

    #[test]
    fn what_a_metric_needs_and_lacks_is_told() {
        let refused = |metric: &str, answered: &[Answered]| {
            let found = (task_metric(metric).expect("known").collect)(answered, &MetricUse::plain(metric));
            found.expect_err(metric).to_string()
        };
        assert!(refused("acc_mutual_info@lm-eval", &questions("two")).contains("behind \"\""));
        assert!(refused("acc_norm@lm-eval", &questions("continuations")).contains("question 000"));
        assert!(refused("brier_score@lm-eval", &questions("several")).contains("one right choice"));
        assert!(refused("word_perplexity@lm-eval", &questions("two")).contains("whole text"));
        let mut truncated = questions("two");
        truncated[4].responses.pop();
        assert!(refused("acc@lm-eval", &truncated).contains("question 004"));
        let bad = MetricUse {
            id: "exact_match@lm-eval".into(),
            arguments: Map::from_iter([("regexes_to_ignore".to_owned(), serde_json::json!(["("]))]),
        };
        let error =
            (task_metric(&bad.id).expect("known").collect)(&questions("texts"), &bad).expect_err("a broken pattern");
        assert!(error.to_string().contains("which is no pattern"), "{error}");
    }

    #[test]
    fn a_filter_has_a_population_of_its_own() {
        let mut answered = questions("texts");
        for (index, one) in answered.iter_mut().enumerate() {
            let invalid = index % 2 == 0;
            let wanted = match &one.question.target {
                Target::Texts { texts } => texts[0].clone(),
                _ => String::new(),
            };
            one.filtered.insert("none".into(), vec![wanted.clone()]);
            one.filtered.insert("strict".into(), vec![if invalid { "[invalid]".into() } else { wanted }]);
        }
        let collect = |metric: &str| {
            let found =
                (task_metric(metric).expect("known").collect)(&answered, &MetricUse::plain(metric)).expect("samples");
            let value = |sample: crate::trust::metric::Sample| {
                (sample.population, sample.statistic.evaluate(&sample.items).expect("defined"))
            };
            found.into_iter().map(value).collect::<Vec<_>>()
        };
        assert_eq!(collect("exact_match@lm-eval"), [("all".to_owned(), 1.0), ("strict".to_owned(), 0.5)]);
        assert_eq!(collect("share_unparsed@lm-eval"), [("all".to_owned(), 0.0), ("strict".to_owned(), 0.5)]);
    }
}
