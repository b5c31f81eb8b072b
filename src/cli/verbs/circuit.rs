//! `circuit`: discover, evaluate, compare.

use anyhow::{Result, bail};
use counterpath::base::{Progress, Seed, files};
use counterpath::intervene::path::{PathGraph, PathRunner};
use counterpath::intervene::{Outcome, TokenPair};
use counterpath::mediate::attribution::{AttributionSpec, Grid, Method, MetricSign};
use counterpath::mediate::circuit::{
    AblationKind, Areas, Axis, CircuitReport, Contrast, DiscoverSpec, Evaluator, Evidence, KeptRuns, Ranking, Rule,
    circuit_request, compare, discover, hold_out, read_circuit, report, sensitivity, write_circuit,
};
use counterpath::mediate::{journal_path, read_pairs};
use counterpath::model::{LanguageModel, LoadOptions};
use counterpath::pipeline::circuits::{record_of, record_of_file, turned};
use counterpath::pipeline::mediation::MediationPairs;
use counterpath::pipeline::population::{Population, Sizes};
use counterpath::pipeline::recipe::{EvaluateRecipe, MediateRecipe};
use counterpath::record::{CircuitChange, CircuitRecord};
use counterpath::report::circuit_svg;
use counterpath::report::terminal::{self, Align};
use counterpath::stats::Bootstrap;
use serde_json::json;

use super::super::args::LoadArgs;
use super::super::circuit_args::{
    AblationArg, Circuit, Compare, Discover, Evaluate, MethodArg, PairArgs, RankingArg, RuleArg, SignArg,
};
use super::super::load::{load, load_parts, parse_device};
use super::super::needs::{self, Batch, Next};
use super::circuit_page::{figure, page};
use super::circuit_text::{WIDTH, cell, print_report, print_table, row_of};
use super::{Format, print_json};

/// Does what was asked for.
pub fn run(args: &Circuit, format: Format, progress: &dyn Progress) -> Result<()> {
    match args {
        Circuit::Discover(args) => run_discover(args, format, progress),
        Circuit::Evaluate(args) => run_evaluate(args, format, progress),
        Circuit::Compare(args) => run_compare(args, format, progress),
    }
}

/// What a job of gradients on so many pairs needs: a small batch is held for its backward pass.
fn fits(model: &str, load: &LoadArgs, passes: usize, format: Format) -> Result<Next> {
    let spec = AttributionSpec::new(Method::Gradient);
    let job = needs::gradients(spec.batch_tokens, passes * needs::PROMPT_TOKENS);
    needs::consider(model, load, (Batch::Fixed, &|_| Ok(job)), format)
}

impl PairArgs {
    /// Pairs to choose on and, where an eval set brings them, others to measure on.
    fn read(&self, model: &LanguageModel, progress: &dyn Progress) -> Result<[Vec<TokenPair>; 2]> {
        match (&self.pairs, &self.eval_set) {
            (Some(path), _) => Ok([read_pairs(path, model.tokenizer().ok())?, Vec::new()]),
            (None, Some(name)) => {
                let pairs = MediateRecipe::default().pairs;
                let texts = EvaluateRecipe::default().texts;
                let sizes = Sizes { discovery: pairs, tuning_items: 0, tuning_pairs: 0, texts };
                let set = Population::open(name, None, sizes, Seed::new(self.seed))?;
                let MediationPairs { discovery, evaluation, .. } = MediationPairs::of(&set, model)?;
                let whole = |pairs: Vec<TokenPair>| -> Vec<TokenPair> {
                    pairs.into_iter().filter(|pair| pair.alignment().is_whole()).collect()
                };
                let [discovery, evaluation] = [whole(discovery), whole(evaluation)];
                if discovery.is_empty() || evaluation.is_empty() {
                    bail!("{name}: no pairs whose two prompts have equally many tokens in this model's tokenizer");
                }
                match self.sign {
                    None => Ok(turned(model, [discovery, evaluation], progress)?),
                    Some(_) => Ok([discovery, evaluation]),
                }
            }
            (None, None) => bail!("give --pairs or --eval-set"),
        }
    }

    /// What the pairs are called.
    fn name(&self) -> String {
        let file = self.pairs.as_ref().map(|path| path.display().to_string());
        file.or_else(|| self.eval_set.clone()).unwrap_or_default()
    }

    fn sign(&self) -> MetricSign {
        match (self.sign, &self.pairs) {
            (Some(SignArg::Plain), _) | (None, Some(_)) => MetricSign::Plain,
            (Some(SignArg::Declared), _) | (None, None) => MetricSign::Declared,
            (Some(SignArg::Measured), _) => MetricSign::Measured,
        }
    }

    fn evidence(&self) -> Evidence {
        let ablation = match self.ablation {
            AblationArg::Counterfactual => AblationKind::Counterfactual,
            AblationArg::Zero => AblationKind::Zero,
            AblationArg::Mean => AblationKind::Mean,
            AblationArg::MeanPositional => AblationKind::MeanPositional,
        };
        let bootstrap = Bootstrap { replicates: 2000, level: 0.95, seed: Seed::new(self.seed).fork("circuit") };
        Evidence { ablation, random: self.random, edges: self.minimality, bootstrap }
    }
}

fn run_discover(args: &Discover, format: Format, progress: &dyn Progress) -> Result<()> {
    if fits(&args.model.model, &args.model.load, 2 + usize::from(args.steps), format)? == Next::Stop {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    let [pairs, held_out] = args.pairs.read(&loaded.model, progress)?;
    let [discovery, evaluation] = match args.pairs.pairs {
        Some(_) => hold_out(pairs, args.hold_out, Seed::new(args.pairs.seed)),
        None => [pairs, held_out],
    };
    let steps = usize::from(args.steps);
    let method = match args.method {
        MethodArg::Eap => Method::Gradient,
        MethodArg::EapIgInputs => Method::integrated(steps),
        MethodArg::EapIgActivations => Method::IntegratedActivations { steps, grid: Grid::ToClean },
        MethodArg::CleanCorrupted => Method::CleanCorrupted,
        MethodArg::InformationFlow => Method::InformationFlow,
    };
    let all = PathGraph::of(loaded.model.architecture()).edge_count();
    let edges = args.edges.unwrap_or(all.div_ceil(50));
    let rule = match (args.threshold, args.rule) {
        (Some(score), _) => Rule::Threshold { score },
        (None, RuleArg::Greedy) => Rule::Greedy { edges },
        (None, RuleArg::Top) => Rule::Top { edges },
    };
    let ranking = match args.ranking {
        RankingArg::Signed => Ranking::Signed,
        RankingArg::Absolute => Ranking::Absolute,
    };
    let attribution = AttributionSpec { sign: args.pairs.sign(), ..AttributionSpec::new(method) };
    let evidence = args.pairs.evidence();
    let spec = DiscoverSpec { attribution, ranking, rule, evidence, confirm: args.confirm, sample: args.sample };
    let adapter = loaded.adapter_digest()?;
    let keep = journal_path(&args.output);
    let (found, file) = discover((&loaded.model, adapter.as_ref()), [&discovery, &evaluation], &spec, &keep, progress)?;
    write_circuit(&args.circuit, &file)?;
    files::write_json(&args.output, &found)?;
    if let Some(path) = &args.svg {
        files::write_atomic(path, circuit_svg(&figure(&found, &file)).as_bytes())?;
    }
    files::remove(&keep)?;
    let circuits = vec![record_of(&args.pairs.name(), &found, &file)];
    args.page.write(&page("A circuit, found and measured", &loaded.source, circuits, Vec::new()))?;
    if format == Format::Json {
        return print_json(&found);
    }
    println!(
        "{} of {} edges ({} taken, {} left after pruning), scored by {} on {} pairs{}",
        found.realised,
        found.decoder_edges,
        found.requested,
        found.realised,
        attribution.method.name(),
        found.discovery_pairs,
        if found.same_pairs { "; measured on the same pairs, so the numbers are too good" } else { "" }
    );
    print_report(&found.report);
    for (curve, name) in found.curves.iter().zip(["CPR (signed)", "CMD (absolute)"]) {
        let value = |areas: Option<Areas>| {
            areas.map_or("undefined".to_owned(), |areas| {
                format!("{:.4}", if name.starts_with("CPR") { areas.cpr } else { areas.cmd })
            })
        };
        let [fixed, realised, log] = Axis::ALL.map(|axis| value(curve.areas(axis)));
        println!("{name}: {fixed} on the fixed axis, {realised} on the realised, {log} on the log axis (of 6.908)");
    }
    if let Some(confirmed) = &found.confirmed {
        let discovered = confirmed.top.iter().filter(|edge| edge.discovered).count();
        println!("{discovered} of the {} top edges confirmed; {}", confirmed.top.len(), confirmed.statement);
    }
    println!("circuit: {}\nresult: {}", args.circuit.display(), args.output.display());
    Ok(())
}

fn run_evaluate(args: &Evaluate, format: Format, progress: &dyn Progress) -> Result<()> {
    let passes = 4 + 2 * (args.pairs.random + args.pairs.minimality);
    if fits(&args.model.model, &args.model.load, passes, format)? == Next::Stop {
        return Ok(());
    }
    let loaded = load(&args.model, progress)?;
    let runner = PathRunner::new(&loaded.model)?;
    let file = read_circuit(&args.circuit, runner.graph())?;
    let [pairs, held_out] = args.pairs.read(&loaded.model, progress)?;
    let pairs = if held_out.is_empty() { pairs } else { held_out };
    let evidence = args.pairs.evidence();
    evidence.ablation.check(&[&pairs])?;
    let means = evidence.ablation.means(&loaded.model, &pairs)?;
    let how = (evidence.ablation.with(means.as_ref()), Outcome::Contrast, args.pairs.sign());
    let adapter = loaded.adapter_digest()?;
    let what = format!("evaluate {:?} {:?}", evidence.ablation, file.circuit.edges().collect::<Vec<_>>());
    let request = circuit_request(&[(&loaded.model, adapter.as_ref())], &[&pairs], &what);
    let kept = KeptRuns::open(&journal_path(&args.output), &request)?;
    let keep = (&kept, adapter.as_ref());
    progress.start("circuit", 0);
    let evaluator = Evaluator::keeping(&runner, &pairs, how, progress, keep)?;
    let found = report(&evaluator, &file, &evidence)?;
    let spec = AttributionSpec { sign: args.pairs.sign(), ..AttributionSpec::new(Method::Gradient) };
    let others = match args.sensitivity {
        true => sensitivity(&runner, (&file.circuit, &pairs), &spec, &evidence.bootstrap, progress, keep)?,
        false => Vec::new(),
    };
    progress.finish();
    let result = json!({"report": found, "sensitivity": others});
    files::write_json(&args.output, &result)?;
    files::remove(kept.path())?;
    let circuit = CircuitRecord { sensitivity: others.clone(), ..record_of_file(&args.pairs.name(), &found, &file) };
    args.page.write(&page("A circuit, measured", &loaded.source, vec![circuit], Vec::new()))?;
    if format == Format::Json {
        return print_json(&result);
    }
    print_report(&found);
    if !others.is_empty() {
        println!();
        print_table(&others.iter().map(|other| row_of("", other)).collect::<Vec<_>>());
    }
    println!("result: {}", args.output.display());
    Ok(())
}

fn run_compare(args: &Compare, format: Format, progress: &dyn Progress) -> Result<()> {
    if fits(&args.model.model, &args.model.load, 10, format)? == Next::Stop {
        return Ok(());
    }
    let before = load(&args.model, progress)?;
    let options = LoadOptions {
        device: parse_device(&args.model.load.device)?,
        base: args.model.load.base_dtype,
        ..Default::default()
    };
    let against = args.against.as_deref().unwrap_or(&args.model.model);
    let after = load_parts(against, args.against_adapter.as_deref(), &args.model.load.chat, &options, progress)?;
    let runners = [PathRunner::new(&before.model)?, PathRunner::new(&after.model)?];
    let [first, second] = &runners;
    let file = read_circuit(&args.circuit, first.graph())?;
    if second.graph() != first.graph() {
        bail!(
            "{against} has another architecture than {}: one circuit cannot run on both; give two checkpoints of one architecture",
            before.source
        );
    }
    let [pairs, held_out] = args.pairs.read(&before.model, progress)?;
    let pairs = if held_out.is_empty() { pairs } else { held_out };
    let evidence = args.pairs.evidence();
    evidence.ablation.check(&[&pairs])?;
    let means = [&before.model, &after.model].map(|model| evidence.ablation.means(model, &pairs));
    let [means_before, means_after] = means;
    let (means_before, means_after) = (means_before?, means_after?);
    let how = |means| (evidence.ablation.with(means), Outcome::Contrast, args.pairs.sign());
    let adapters = [before.adapter_digest()?, after.adapter_digest()?];
    let [adapter_before, adapter_after] = adapters.each_ref().map(Option::as_ref);
    let subjects = [(&before.model, adapter_before), (&after.model, adapter_after)];
    let what = format!("compare {:?} {:?}", evidence.ablation, file.circuit.edges().collect::<Vec<_>>());
    let kept = KeptRuns::open(&journal_path(&args.output), &circuit_request(&subjects, &[&pairs], &what))?;
    progress.start("circuit", 0);
    let evaluators = [
        Evaluator::keeping(first, &pairs, how(means_before.as_ref()), progress, (&kept, adapter_before))?,
        Evaluator::keeping(second, &pairs, how(means_after.as_ref()), progress, (&kept, adapter_after))?,
    ];
    let [one, other] = &evaluators;
    let found = compare([one, other], &file.circuit, &evidence.bootstrap)?;
    progress.finish();
    files::write_json(&args.output, &found)?;
    files::remove(kept.path())?;
    let change = CircuitChange { population: args.pairs.name(), comparison: found.clone() };
    let evaluation = found.before.clone();
    let report =
        CircuitReport { pairs: pairs.len(), evaluation, completeness: None, minimality: Vec::new(), judgement: None };
    let circuit = record_of_file(&args.pairs.name(), &report, &file);
    let name = match &args.against_adapter {
        Some(folder) => folder.display().to_string(),
        None => against.to_owned(),
    };
    args.page.write(&page("One circuit, before and after", &before.source, vec![circuit], vec![(name, change)]))?;
    if format == Format::Json {
        return print_json(&found);
    }
    print_table(&[row_of("before: ", &found.before), row_of("after: ", &found.after)]);
    println!();
    let row = |contrast: &Contrast| {
        let p = contrast.p_value.map_or("-".to_owned(), |p| format!("{p:.4}"));
        vec![contrast.quantity.clone(), cell(&contrast.difference), p]
    };
    let heads = [("after - before", Align::Left), ("nats", Align::Right), ("p", Align::Right)];
    print!("{}", terminal::table(&heads, &found.contrasts.iter().map(row).collect::<Vec<_>>(), WIDTH));
    println!("result: {}", args.output.display());
    Ok(())
}
