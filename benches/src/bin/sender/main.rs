//! Sends SYNs to one host, each from a random one of 65,536 sources to a random port, at
//! a given rate or as fast as one core can.
//!
//! The kernel makes the frames: it runs an XDP program over copies of one frame and sends
//! each copy, batch by batch, as the driver of a network card does. A frame needs no
//! system call and no socket, which take most of the time of senders with packet sockets.
//! The sender needs root, Linux 5.18, and a veth whose other end accepts frames in
//! batches: run `ethtool -K INTERFACE gro on` there.

mod bpf;
mod program;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bpf::XdpProgram;

/// Frames of a batch, as many as a network card hands to its driver.
const BATCH: u32 = 64;

/// A sender with a rate sends the frames that are due and then pauses for this time.
const PAUSE: Duration = Duration::from_millis(1);

const USAGE: &str = "usage: sender INTERFACE HARDWARE-ADDRESS IPV4-ADDRESS FRAMES [A-SECOND]
  the addresses are those of the host that is to be probed";

struct Order {
    interface: String,
    hardware: [u8; 6],
    target: Ipv4Addr,
    frames: u32,
    /// Frames a second.
    rate: Option<f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(order) = order(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", order.interface);
            ExitCode::FAILURE
        }
    }
}

fn order(arguments: &[String]) -> Option<Order> {
    let (interface, hardware, target, frames, rate) = match arguments {
        [interface, hardware, target, frames] => (interface, hardware, target, frames, None),
        [interface, hardware, target, frames, rate] => {
            (interface, hardware, target, frames, Some(rate))
        }
        _ => return None,
    };
    let bytes: Result<Vec<u8>, _> =
        hardware.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    Some(Order {
        interface: interface.clone(),
        hardware: bytes.ok()?.try_into().ok()?,
        target: target.parse().ok()?,
        frames: frames.parse().ok()?,
        rate: match rate {
            Some(rate) => Some(rate.parse().ok().filter(|rate| *rate >= 1.0)?),
            None => None,
        },
    })
}

fn run(order: &Order) -> io::Result<()> {
    let template = program::template(order.hardware, order.target);
    let index = counter(order, "ifindex")?;
    let index = index.try_into().map_err(io::Error::other)?;
    let program = XdpProgram::load(&program::program(&template, index))?;
    let before = counter(order, "statistics/tx_packets")?;
    let start = Instant::now();
    let mut given = 0;
    while given < order.frames {
        let due = match order.rate {
            Some(rate) => {
                ((start.elapsed().as_secs_f64() * rate) as u32).clamp(given, order.frames)
            }
            None => order.frames,
        };
        program.run(&template, due - given, BATCH)?;
        given = due;
        if given < order.frames {
            sleep(PAUSE);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    // The frames that the other end accepted: the kernel does not report the frames that it
    // drops. If another program sends a frame through the interface meanwhile, for example a
    // neighbour solicitation, it hides one loss.
    let taken = counter(order, "statistics/tx_packets")?.saturating_sub(before);
    let lost = u64::from(order.frames).saturating_sub(taken);
    let sent = u64::from(order.frames) - lost;
    println!("{sent} frames in {seconds:.3} s: {:.0} a second", sent as f64 / seconds);
    if lost > 0 {
        let advice = "run `ethtool -K INTERFACE gro on` at the other end";
        return Err(io::Error::other(format!("{lost} frames were not taken; {advice}")));
    }
    Ok(())
}

/// Reads the number in the file `name` of the interface in `/sys/class/net`.
fn counter(order: &Order, name: &str) -> io::Result<u64> {
    let path = PathBuf::from("/sys/class/net").join(&order.interface).join(name);
    std::fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}
