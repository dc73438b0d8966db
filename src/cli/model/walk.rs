//! `regimeflow model fit --walk-forward`: a line for each refit, and whether refits keep what their states mean.

use std::process::ExitCode;

use super::args::shown;
use super::data::{Source, Target};
use super::{print, print_json, report};
use crate::cli::EX_DATA;
use crate::training::walk_forward::{Refit, Walked, walk};
use crate::training::{Series, Settings, parallel};

/// Refits agree on their bars by at least this, in the median.
const AGREEMENT_MIN: f64 = 0.95;

pub(super) async fn run(
    source: Source,
    targets: &[Target],
    settings: &Settings,
    (train, step): (i64, i64),
    until: Option<i64>,
    threads: usize,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut all: Vec<Series> = Vec::with_capacity(targets.len());
    for target in targets {
        all.push(source.series(target, None, until, None, usize::MAX).await?);
    }
    source.close().await?;
    let bar = report::progress(all.len() as u64, "{bar:40} {pos} of {len} symbols {eta}");
    let mut answers = Vec::with_capacity(all.len());
    tokio::task::block_in_place(|| {
        let walk = |series: &Series| walk(&series.rows(&settings.features)?, settings, train, step);
        parallel::run(&all, threads, walk, |at, answer| {
            answers.push((at, answer));
            bar.inc(1);
        });
    });
    bar.finish_and_clear();
    answers.sort_by_key(|(at, _)| *at);
    let (mut refits, mut failed) = (Vec::new(), Vec::new());
    for (_, answer) in answers {
        match answer {
            Ok(of_one) => refits.extend(of_one),
            Err(error) => failed.push(error),
        }
    }
    let walked = Walked::of(refits);
    if json {
        print_json(&walked)?
    } else {
        print(&text(&walked))?
    }
    for error in &failed {
        eprintln!("regimeflow: no walk over {error}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EX_DATA) })
}

fn text(walked: &Walked) -> String {
    let day = |ms: i64| shown(ms)[..10].to_owned();
    let line = |refit: &Refit| {
        let agreement = |figure: &dyn Fn(&crate::training::walk_forward::Agreement) -> String| {
            refit.agreement.as_ref().map_or_else(String::new, figure)
        };
        vec![
            refit.target.clone(),
            format!("{} – {}", day(refit.train[0]), day(refit.train[1])),
            format!("– {}", day(refit.test[1])),
            format!("{:.4}", refit.log_likelihood_per_bar),
            format!("{:.4}", refit.oos_log_likelihood_per_bar),
            format!("{:.0}", refit.switches_per_year),
            agreement(&|a| format!("{:.3}", a.states)),
            agreement(&|a| a.opposed_states.to_string()),
            agreement(&|a| a.firm_contradictions.to_string()),
            agreement(&|a| a.contradictions.to_string()),
            refit.labels.join(" "),
        ]
    };
    let header = [
        "of",
        "trained",
        "tested to",
        "logL/bar",
        "tested",
        "switches/year",
        "agree",
        "states",
        "bars held",
        "bars on paths",
        "labels",
    ];
    let table = report::table(&header, walked.refits.iter().map(line));
    let figure = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let verdict = |within: bool| if within { "yes" } else { "NO" };
    let steady = walked.median_agreement.is_some_and(|median| median >= AGREEMENT_MIN);
    let bars = report::grouped(walked.bars);
    format!(
        "{table}\n{} refits, tested log-likelihood per bar {}\n\
         agreement with the refit before, median {}: at least {AGREEMENT_MIN}? {}\n\
         states that changed between Bull and Bear {}: none? {}\n\
         bars held for Bull by one and Bear by the other, each with a probability of .8: {} of {bars}; on opposite paths: {}\n",
        walked.refits.len(),
        figure(walked.oos_log_likelihood_per_bar),
        figure(walked.median_agreement),
        verdict(steady),
        walked.opposed_states,
        verdict(walked.opposed_states == 0),
        walked.firm_contradictions,
        report::grouped(walked.contradictions),
    )
}
