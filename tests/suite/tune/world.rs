//! A world of two causes: a prompt `start filler name filler cause ask`, an answer that follows both the name's group
//! (spurious) and the cause (legitimate) in the training environment, and pairs that change one of them.

use std::sync::OnceLock;

use candle_core::Var;
use counterpath::base::seed::{index, uniform};
use counterpath::base::{Seed, Silent};
use counterpath::intervene::TokenPair;
use counterpath::model::{LanguageModel, TokenizedPrompt};
use counterpath::tune::{
    Decline, PairExample, PretrainSpec, Schedule, TaskExample, TextExample, TuneData, Warmup, pretrain,
};

use super::tiny;

const NAMES: [[u32; 3]; 2] = [[1, 2, 3], [4, 5, 6]];
const CAUSES: [u32; 2] = [9, 10];
const FILLERS: [u32; 3] = [11, 12, 13];

/// How the answers are spelled.
#[derive(Clone, Copy, PartialEq)]
pub enum Answers {
    /// One token each.
    Single,
    /// Two tokens each, of which the first is shared.
    Double,
}

impl Answers {
    fn tokens(self) -> Vec<Vec<u32>> {
        match self {
            Answers::Single => vec![vec![20], vec![21]],
            Answers::Double => vec![vec![22, 20], vec![22, 21]],
        }
    }
}

pub fn prompt(name: u32, cause: usize, answers: Answers) -> TokenizedPrompt {
    let ids = vec![0, FILLERS[0], name, FILLERS[1], CAUSES[cause], FILLERS[2]];
    TokenizedPrompt { ids, answers: answers.tokens(), slots: vec![("name".into(), 2..3), ("cause".into(), 4..5)] }
}

/// Group, name and cause of one unit, uniform and independent.
fn unit(rng: &mut impl rand::Rng) -> (usize, usize, usize) {
    (index(rng, 2), index(rng, 3), index(rng, 2))
}

/// The training environment's label: log-odds 1.5 for the cause and 1.5 for the group.
fn label(group: usize, cause: usize, rng: &mut impl rand::Rng) -> usize {
    let sign = |value: usize| 2.0 * value as f64 - 1.0;
    let log_odds: f64 = 1.5 * sign(group) + 1.5 * sign(cause);
    usize::from(uniform(rng) < 1.0 / (1.0 + (-log_odds).exp()))
}

pub fn data(answers: Answers, count: usize, seed: u64) -> TuneData {
    let mut rng = Seed::new(seed).fork("world").rng();
    let mut data = TuneData::default();
    for number in 0..count {
        let (group, name, cause) = unit(&mut rng);
        let prompt = prompt(NAMES[group][name], cause, answers);
        data.task.push(TaskExample { id: format!("t{number}"), prompt, label: label(group, cause, &mut rng) });
        let (group, name, cause) = unit(&mut rng);
        data.invariant.push(pair(
            &format!("i{number}"),
            (NAMES[group][name], cause),
            (NAMES[1 - group][name], cause),
            None,
            answers,
        ));
        let (group, name, cause) = unit(&mut rng);
        let name = NAMES[group][name];
        data.follow.push(pair(
            &format!("f{number}"),
            (name, cause),
            (name, 1 - cause),
            Some([cause, 1 - cause]),
            answers,
        ));
    }
    data.canaries =
        (0..4).map(|id| TextExample { id: format!("c{id}"), ids: vec![0, 14 + id, 18, 17 - id, 19] }).collect();
    data
}

fn pair(
    id: &str,
    factual: (u32, usize),
    counterfactual: (u32, usize),
    labels: Option<[usize; 2]>,
    answers: Answers,
) -> PairExample {
    let side = |(name, cause)| prompt(name, cause, answers);
    let pair = TokenPair::new(id, id, side(factual), side(counterfactual)).expect("aligned");
    PairExample { pair, scenario: "world".into(), labels }
}

/// A model of two layers that learned the training environment from text, once a test run.
pub fn model() -> &'static (LanguageModel, Vec<(String, Var)>) {
    static MODEL: OnceLock<(LanguageModel, Vec<(String, Var)>)> = OnceLock::new();
    MODEL.get_or_init(|| {
        let parameters = tiny::parameters(2, 0.1, 11);
        let mut texts = Vec::new();
        for answers in [Answers::Single, Answers::Double] {
            for example in data(answers, 600, 5).task {
                texts.push([example.prompt.ids.as_slice(), &example.prompt.answers[example.label]].concat());
            }
        }
        let spec = PretrainSpec {
            steps: 250,
            batch: 32,
            learning_rate: 1e-2,
            schedule: Schedule { warmup: Warmup::Steps(10), decline: Decline::Cosine { floor: 0.05 } },
            ..PretrainSpec::default()
        };
        pretrain(&tiny::live(2, &parameters), parameters.clone(), &texts, &spec, &Silent).expect("training");
        (tiny::frozen(2, &parameters), parameters)
    })
}
