//! Runs the trial: a sensor, a policy, limits and an event that an earlier program stored.

use growth_trial::{matches, run, stored};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reasons = run::decide()?;
    assert_eq!(reasons, ["below trigger", "triggered", "responding"]);
    let event = stored::read(include_str!("../event.json"))?;
    assert_eq!(matches::event(&event), "probe");
    assert_eq!(stored::source(&event), Some("192.0.2.7".parse()?));
    println!("the trial crate works: {}", reasons.join(", "));
    Ok(())
}
