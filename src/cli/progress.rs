//! Progress on a terminal (a bar with rate and time left), plain lines elsewhere, and Ctrl-C.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use counterpath::base::Progress;
use indicatif::{ProgressBar, ProgressStyle};

static CANCELLED: AtomicBool = AtomicBool::new(false);

/// Makes the first Ctrl-C a request to stop between units of work, and the second an immediate exit.
pub fn watch_interrupt() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if CANCELLED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after the unit of work in hand; press Ctrl-C again to stop at once");
    })?;
    Ok(())
}

/// What the user wants to see on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing but errors.
    Quiet,
    /// Stages and their progress.
    Normal,
}

/// Draws on standard error.
pub struct Terminal {
    verbosity: Verbosity,
    interactive: bool,
    current: Mutex<Option<Stage>>,
}

struct Stage {
    name: String,
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    started: Instant,
    printed: Instant,
}

impl Terminal {
    /// A terminal progress; bars are drawn only where standard error is a terminal.
    pub fn new(verbosity: Verbosity) -> Self {
        Self { verbosity, interactive: std::io::stderr().is_terminal(), current: Mutex::new(None) }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Option<Stage>) -> R) -> R {
        // A poisoned lock means that a panic is already being reported; the bar's state is still usable.
        act(&mut self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Progress for Terminal {
    fn start(&self, stage: &str, total: u64) {
        self.finish();
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let bar = (self.interactive && total > 0).then(|| {
            let style = ProgressStyle::with_template("{msg:34} {bar:28} {pos}/{len} {per_sec} {eta} left");
            let bar = ProgressBar::new(total).with_message(stage.to_owned());
            match style {
                Ok(style) => bar.with_style(style.progress_chars("━╸─")),
                Err(_) => bar,
            }
        });
        if bar.is_none() {
            eprintln!("{stage} …");
        }
        let now = Instant::now();
        let stage = Stage { name: stage.to_owned(), bar, total, done: 0, started: now, printed: now };
        self.with(|current| *current = Some(stage));
    }

    fn advance(&self, units: u64) {
        self.with(|current| {
            let Some(stage) = current else { return };
            stage.done += units;
            match &stage.bar {
                Some(bar) => bar.inc(units),
                None if stage.total > 0 && stage.printed.elapsed() > Duration::from_secs(10) => {
                    let seconds = stage.started.elapsed().as_secs_f64();
                    let rate = stage.done as f64 / seconds;
                    let left = stage.total.saturating_sub(stage.done) as f64 / rate;
                    eprintln!("  {}: {}/{} ({rate:.1}/s, {left:.0} s left)", stage.name, stage.done, stage.total);
                    stage.printed = Instant::now();
                }
                None => {}
            }
        });
    }

    fn note(&self, line: &str) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        self.with(|current| match current.as_ref().and_then(|stage| stage.bar.as_ref()) {
            Some(bar) => bar.println(format!("  {line}")),
            None => eprintln!("  {line}"),
        });
    }

    fn finish(&self) {
        self.with(|current| {
            let Some(stage) = current.take() else { return };
            let seconds = stage.started.elapsed().as_secs_f64();
            if let Some(bar) = stage.bar {
                bar.finish_and_clear();
            }
            eprintln!("{} … done in {seconds:.1} s", stage.name);
        });
    }

    fn cancelled(&self) -> bool {
        CANCELLED.load(Ordering::SeqCst)
    }
}
