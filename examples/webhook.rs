//! A responder of one's own: each host that scans is told to a web service.
//!
//! Usage: `webhook URL FILE...`. The probes come from capture files here, and
//! would come from interfaces in a daemon. A response goes as JSON in a POST, from
//! a thread of its own, since a service may be slow: meanwhile the engine goes on
//! with other hosts, and keeps further probes of this one until the outcome is
//! known. Any status of 2xx counts as dealt with; everything else is a failure,
//! after which the engine lets some time pass before it asks again.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use portsentry_capture::{CaptureFile, Drained, Sensor, SensorError};
use portsentry_core::{
    Effect, Engine, HashKey, Instant, Limits, Outcome, Policy, PortSet, Response, ResponseId,
};
use portsentry_report::EventLine;

type Answer = (ResponseId, Outcome);

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(url), files) = (words.next(), words.collect::<Vec<_>>()) else {
        eprintln!("usage: webhook URL FILE...");
        return ExitCode::from(2);
    };
    let (requests, jobs) = channel();
    let (answers, outcomes) = channel();
    thread::spawn(move || deliver(&url, &jobs, &answers));
    for file in files {
        if let Err(error) = read(&file, &requests, &outcomes) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The responder: one request after the other, each with its answer.
fn deliver(url: &str, jobs: &Receiver<Response>, answers: &Sender<Answer>) {
    for response in jobs {
        let host = response.probe.source;
        // Of `response` everything could be sent: with the feature `serde` it is
        // ready for that.
        let request = minreq::post(url).with_timeout(5).with_json(&response.probe);
        let outcome = match request.and_then(minreq::Request::send) {
            Ok(reply) if (200..300).contains(&reply.status_code) => Outcome::Succeeded,
            Ok(reply) => {
                eprintln!("{host}: {} {}", reply.status_code, reply.reason_phrase);
                Outcome::Failed
            }
            Err(error) => {
                eprintln!("{host}: {error}");
                Outcome::Failed
            }
        };
        if answers.send((response.id, outcome)).is_err() {
            return;
        }
    }
}

fn read(
    file: &str,
    requests: &Sender<Response>,
    outcomes: &Receiver<Answer>,
) -> Result<(), SensorError> {
    let every_port: PortSet = PortSet::all();
    let policy = Policy {
        tcp_ports: every_port,
        block_tcp: true,
        remember_blocked: true,
        ..Policy::default()
    };
    let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));
    let mut sensor = CaptureFile::open(file)?;
    let now = Instant::default();
    loop {
        let drained = sensor.drain(1024, &mut |observation| {
            engine.observe(observation, now);
        });
        for (id, outcome) in outcomes.try_iter() {
            engine.handle_outcome(id, outcome, now);
        }
        hand_on(&mut engine, requests);
        if drained? == Drained::End {
            break;
        }
    }
    while engine.statistics().responses > 0 {
        let Ok((id, outcome)) = outcomes.recv() else { break };
        engine.handle_outcome(id, outcome, now);
        hand_on(&mut engine, requests);
    }
    Ok(())
}

fn hand_on(engine: &mut Engine, requests: &Sender<Response>) {
    while let Some(effect) = engine.poll_effect() {
        if let Effect::Respond(response) = effect {
            // The thread at the other end lives as long as this one asks.
            let _ = requests.send(response);
        }
    }
    while let Some(event) = engine.poll_event() {
        println!("{}", EventLine::new(&event));
    }
}
