//! Jobs over a bounded number of threads. Answers come as they are ready, with the number of their job.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::bounded;

/// Works off jobs; `done` hears of each answer on the caller's thread.
pub fn run<J: Sync, A: Send>(jobs: &[J], threads: usize, work: impl Fn(&J) -> A + Sync, mut done: impl FnMut(usize, A)) {
    let next = AtomicUsize::new(0);
    let (answers, ready) = bounded(threads.max(1) * 2);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            let (answers, next, work) = (answers.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&at| at < jobs.len()) {
                    if answers.send((at, work(&jobs[at]))).is_err() {
                        return; // the caller panicked
                    }
                }
            });
        }
        drop(answers);
        ready.iter().for_each(|(at, answer)| done(at, answer));
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_job_is_answered_once() {
        let jobs: Vec<usize> = (0..100).collect();
        let mut answers = vec![0; 100];
        super::run(&jobs, 3, |job| job * job, |at, answer| answers[at] += answer);
        assert!(answers.iter().enumerate().all(|(at, answer)| at * at == *answer));
        super::run(&[] as &[usize], 3, |_| 0, |_, _| unreachable!());
    }
}
