//! A responder outside this project: it reports each scanning host to a web service.
//!
//! Usage: `webhook URL FILE...`. The probes come from capture files; a daemon would
//! read interfaces. Each response is a POST with JSON, sent by a separate thread
//! because a service may be slow. Meanwhile the engine decides about other hosts, and
//! keeps further probes of this host until the outcome is known. A status of 2xx is a
//! success. Any other result is a failure, after which the engine waits before it asks
//! again.

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

/// The responder: sends the requests in order, and an outcome for each.
fn deliver(url: &str, jobs: &Receiver<Response>, answers: &Sender<Answer>) {
    for response in jobs {
        let host = response.probe.source;
        // With the feature `serde`, the complete `response` could be sent as well.
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
    // The time is that of the last packet.
    let mut now = Instant::default();
    loop {
        let drained = sensor.drain(1024, &mut |observation| {
            now = observation.at;
            engine.observe(observation, now);
        });
        engine.handle_timeout(now);
        for (id, outcome) in outcomes.try_iter() {
            engine.handle_outcome(id, outcome, now);
        }
        pass_on(&mut engine, requests);
        if drained? == Drained::End {
            break;
        }
    }
    while engine.statistics().responses > 0 {
        let Ok((id, outcome)) = outcomes.recv() else { break };
        engine.handle_outcome(id, outcome, now);
        pass_on(&mut engine, requests);
    }
    Ok(())
}

fn pass_on(engine: &mut Engine, requests: &Sender<Response>) {
    while let Some(effect) = engine.poll_effect() {
        if let Effect::Respond(response) = effect {
            // The receiving thread runs until this thread drops the sender.
            let _ = requests.send(response);
        }
    }
    while let Some(event) = engine.poll_event() {
        println!("{}", EventLine::new(&event));
    }
}
