//! One rule on the scores that it speaks of.

use super::super::words::number;
use super::rules::{Better, names};
use super::{GateCheck, JudgeBy, Outcome, Rule, Rules};
use crate::base::Seed;
use crate::record::RunRecord;
use crate::stats::{
    Bootstrap, ErrorKind, Estimate, MetricScore, Paired, equivalence_level, error_of_interval, estimate,
    items_to_decide, normal_cdf, normal_interval, standard_error,
};

/// The metrics that every candidate must have.
pub(super) fn required(rules: &Rules, candidate: &RunRecord) -> Vec<GateCheck> {
    let check = |pattern: &String| {
        let mut found = candidate.scores.iter().filter(|score| names(pattern, &score.metric));
        let defined = found.clone().find(|score| score.estimate.value.is_some());
        let (outcome, message) = match (defined, found.next()) {
            (Some(score), _) => (Outcome::Passed, format!("is there, on {}", score.population)),
            (None, Some(score)) => (Outcome::Missing, undefined(score, &candidate.name)),
            (None, None) => (Outcome::Missing, format!("`{}` has no metric `{pattern}`", candidate.name)),
        };
        GateCheck { outcome, message, ..blank("required metrics", candidate, pattern, "*") }
    };
    rules.require.iter().map(check).collect()
}

fn blank(rule: &str, candidate: &RunRecord, metric: &str, population: &str) -> GateCheck {
    GateCheck {
        rule: rule.to_owned(),
        candidate: candidate.name.clone(),
        metric: metric.to_owned(),
        population: population.to_owned(),
        outcome: Outcome::Missing,
        message: String::new(),
        change: None,
        margin: None,
        p_value: None,
        adjusted_p: None,
        items_to_decide: None,
    }
}

fn undefined(score: &MetricScore, name: &str) -> String {
    let reason = score.estimate.undefined.as_deref().unwrap_or("no reason recorded");
    format!("{} of {} is undefined in `{name}`: {reason}", score.metric, score.population)
}

/// The checks that a rule makes of a candidate: a regression check and thresholds, each on every score it speaks of.
pub(super) fn measure(
    rule: &Rule,
    rules: &Rules,
    baseline: Option<&RunRecord>,
    candidate: &RunRecord,
) -> Vec<GateCheck> {
    // What the baseline has, the candidate must have too; without one the candidate's own scores are checked.
    let of = baseline.unwrap_or(candidate);
    let scores: Vec<&MetricScore> = of.scores.iter().filter(|score| rule.speaks_of(score)).collect();
    let pattern = rule.metric.clone().unwrap_or_else(|| rule.title());
    let population = rule.population.clone().unwrap_or_else(|| "*".into());
    if scores.is_empty() {
        let message = format!("no metric of `{}` is what the rule speaks of", of.name);
        let check = GateCheck { message, ..blank(&rule.title(), candidate, &pattern, &population) };
        return if rule.required { vec![check] } else { Vec::new() };
    }
    let mut checks = Vec::new();
    for score in scores {
        let check = blank(&rule.title(), candidate, &score.metric, &score.population);
        let Some(own) = candidate.score(&score.metric, &score.population) else {
            let message = format!("`{}` has no {} of {}", candidate.name, score.metric, score.population);
            checks.extend(rule.required.then_some(GateCheck { message, ..check }));
            continue;
        };
        if own.estimate.value.is_none() {
            checks.push(GateCheck { message: undefined(own, &candidate.name), ..check });
            continue;
        }
        if let Some((margin, _)) = rule.margin.zip(baseline) {
            checks.push(regression(check.clone(), rule, rules, margin, [score, own]));
        }
        checks.extend(thresholds(&check, rule, rules, own));
    }
    checks
}

fn regression(check: GateCheck, rule: &Rule, rules: &Rules, margin: f64, scores: [&MetricScore; 2]) -> GateCheck {
    let [baseline, candidate] = scores;
    let check = GateCheck { margin: Some(margin), ..check };
    let Some(better) = rule.better(baseline) else {
        let message = "the metric has no better side; give the rule a `direction`".to_owned();
        return GateCheck { margin: None, message, ..check };
    };
    if baseline.estimate.value.is_none() {
        return GateCheck { margin: None, message: undefined(baseline, "the baseline"), ..check };
    }
    // First less second is the change for the better.
    let ordered = if better == Better::Higher { [candidate, baseline] } else { [baseline, candidate] };
    let found = match ordered.iter().any(|score| score.items.is_empty()) {
        true => unpaired(ordered, rules, margin),
        false => paired(ordered, rules, margin),
    };
    match found {
        Ok(found) => GateCheck {
            change: Some(found.change),
            p_value: found.p_value,
            items_to_decide: found.items_to_decide,
            ..check
        },
        Err(message) => GateCheck { margin: None, message, ..check },
    }
}

/// The change for the better, and what its error says.
struct Found {
    change: Estimate,
    p_value: Option<f64>,
    items_to_decide: Option<usize>,
}

fn seeded(rules: &Rules, score: &MetricScore) -> Bootstrap {
    let seed = Seed::new(rules.seed).fork("gate").fork(&score.metric).fork(&score.population);
    Bootstrap { replicates: rules.replicates, level: equivalence_level(rules.alpha), seed }
}

fn paired([first, second]: [&MetricScore; 2], rules: &Rules, margin: f64) -> Result<Found, String> {
    let paired = Paired::new(&first.items, &second.items, &first.statistic)
        .map_err(|error| format!("the runs cannot be paired: {error}"))?;
    let bootstrap = seeded(rules, first);
    let distribution = paired.distribution(&bootstrap).map_err(|reason| reason.to_string())?;
    let change = distribution.estimate(bootstrap.level);
    let distance = distribution.value() + margin;
    let items = distribution
        .jackknife_error()
        .and_then(|error| items_to_decide(distance, error, paired.len(), rules.alpha, rules.power));
    Ok(Found { change, p_value: distribution.t_test_below(-margin), items_to_decide: items })
}

fn unpaired(scores: [&MetricScore; 2], rules: &Rules, margin: f64) -> Result<Found, String> {
    let part = |score: &MetricScore| {
        let error = match score.items.is_empty() {
            true => score.estimate.interval.map(|interval| error_of_interval(&interval)),
            false => standard_error(&score.items, ErrorKind::Clustered),
        };
        score.estimate.value.zip(error).map(|(value, error)| (value, error, score.estimate.n))
    };
    let [first, second] = scores.map(part);
    let (Some(first), Some(second)) = (first, second) else {
        return Err("one run has neither items nor a standard error".into());
    };
    let (value, error, n) = (first.0 - second.0, first.1.hypot(second.1), first.2.min(second.2));
    let change = Estimate {
        value: Some(value),
        interval: Some(normal_interval(value, error, equivalence_level(rules.alpha))),
        undefined: None,
        n,
        clusters: n,
        method: "normal, unpaired".into(),
    };
    Ok(Found {
        change,
        p_value: (error > 0.0).then(|| normal_cdf((value + margin) / error)),
        items_to_decide: items_to_decide(value + margin, error, n, rules.alpha, rules.power),
    })
}

/// The outcome of a regression check, once its p-value is corrected.
pub(super) fn decide(check: &mut GateCheck, rules: &Rules) {
    let (Some(change), Some(margin)) = (&check.change, check.margin) else { return };
    let Some(value) = change.value else {
        check.message = change.undefined.clone().unwrap_or_default();
        return;
    };
    let interval = change.interval;
    let refuted = match check.adjusted_p {
        Some(p) => p < rules.alpha,
        // Every cluster changed alike, so that there is no error: the interval alone can say it.
        None => interval.is_some_and(|interval| interval.high < -margin),
    };
    let safe = match margin > 0.0 {
        true => interval.is_some_and(|interval| interval.low > -margin),
        false => value >= 0.0,
    };
    check.outcome = match (refuted && value < -margin, safe) {
        (true, _) => Outcome::Failed,
        (false, true) => Outcome::Passed,
        (false, false) => Outcome::Undecided,
    };
    let range = interval.map_or_else(String::new, |i| format!(" [{}, {}]", number(i.low), number(i.high)));
    let p = check.adjusted_p.map_or_else(String::new, |p| format!(", corrected p {}", super::super::words::p_text(p)));
    let change = format!("change for the better {}{range}, tolerated harm {}{p}", number(value), number(margin));
    check.message = match check.outcome {
        Outcome::Failed => format!("worse by more than the margin: {change}"),
        Outcome::Passed => change,
        _ => {
            let needed = check.items_to_decide.map_or_else(
                || "no number of items would decide it".to_owned(),
                |items| format!("about {items} items would decide it with {:.0} % power", 100.0 * rules.power),
            );
            format!("undecided: {change}; {needed}")
        }
    };
    if check.outcome != Outcome::Undecided {
        check.items_to_decide = None;
    }
}

/// The absolute thresholds of a rule.
fn thresholds(blank: &GateCheck, rule: &Rule, rules: &Rules, score: &MetricScore) -> Vec<GateCheck> {
    let mut checks = Vec::new();
    if let Some(rate) = rule.min_pass_rate {
        let binary = score.items.iter().all(|item| item.value == 0.0 || item.value == 1.0);
        checks.push(match binary && !score.items.is_empty() {
            true => threshold(blank, rule, rules, score, rate, Better::Higher),
            false => GateCheck { message: "has no pass rate: its items are not 0 or 1".into(), ..blank.clone() },
        });
    }
    let sides = [(rule.at_least, Better::Higher), (rule.at_most, Better::Lower)];
    let asked = sides.into_iter().filter_map(|(limit, side)| Some((limit?, side)));
    checks.extend(asked.map(|(limit, side)| threshold(blank, rule, rules, score, limit, side)));
    checks
}

fn threshold(
    blank: &GateCheck,
    rule: &Rule,
    rules: &Rules,
    score: &MetricScore,
    limit: f64,
    side: Better,
) -> GateCheck {
    let level = equivalence_level(rules.alpha);
    let interval = match score.items.is_empty() {
        true => score
            .estimate
            .interval
            .zip(score.estimate.value)
            .map(|(interval, value)| normal_interval(value, error_of_interval(&interval), level)),
        false => estimate(&score.items, &score.statistic, &seeded(rules, score)).interval,
    };
    let value = score.estimate.value.unwrap_or(f64::NAN);
    let meets = |value: f64| if side == Better::Higher { value >= limit } else { value <= limit };
    let outcome = match (rule.judge_by, interval) {
        (JudgeBy::Interval, Some(interval)) => match (meets(interval.low), meets(interval.high)) {
            (true, true) => Outcome::Passed,
            (false, false) => Outcome::Failed,
            _ => Outcome::Undecided,
        },
        (JudgeBy::Interval, None) => Outcome::Undecided,
        (JudgeBy::Value, _) if meets(value) => Outcome::Passed,
        (JudgeBy::Value, _) => Outcome::Failed,
    };
    let range = interval.map_or_else(String::new, |i| format!(" [{}, {}]", number(i.low), number(i.high)));
    let wanted = if side == Better::Higher { "at least" } else { "at most" };
    GateCheck {
        outcome,
        message: format!("is {}{range}, asked for {wanted} {}", number(value), number(limit)),
        ..blank.clone()
    }
}
