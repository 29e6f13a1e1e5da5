//! Capture files as a sensor: pcap and pcapng, read without libpcap.
//!
//! A file is read as a stream with bounded memory, so it may be larger than memory, or a pipe.
//! An attacker may have written the file. All readable packets before the first invalid one are
//! delivered; then an error reports the position of the damage.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod pcap;
mod pcapng;
mod tick;
mod window;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use portsentry_core::{Instant, Observation, Timestamp};

use self::pcap::Pcap;
use self::pcapng::Pcapng;
use self::window::Window;
use crate::{
    ChecksumState, Decoder, Drained, Frame, LinkType, Packet, Rejected, Sensor, SensorError,
    SensorStats, Targets, martian_source,
};

/// Maximum length of a packet record or block, in bytes: four times the largest snapshot length
/// of libpcap. It bounds the memory for a file with wrong lengths. Blocks without packets are
/// skipped and may be longer.
const MAX_RECORD: usize = 1 << 20;

/// A capture file as a sensor.
///
/// Observations have the time stamps of the file, and no interface unless the frame names one.
/// [`Observation::at`] is the time stamp as well, or the latest before it if time stamps go
/// back. A file does not contain the kind of the interface. So a source in 127.0.0.0/8 is
/// martian unless the link header shows a loopback interface ([`LinkType::marks_loopback`]).
#[derive(Debug)]
pub struct CaptureFile<R = File> {
    name: String,
    window: Window<R>,
    format: Format,
    targets: Targets,
    decoder: Decoder,
    stats: SensorStats,
    /// Latest time stamp so far.
    latest: Instant,
    ended: bool,
}

/// Reader for the format of the file.
#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// One packet of the file.
#[derive(Debug)]
struct Record<'a> {
    /// `None` if frames of this link type cannot be decoded.
    link: Option<LinkType>,
    time: Timestamp,
    /// Length of the frame on the wire, in bytes.
    wire_length: usize,
    frame: &'a [u8],
}

/// Next step for the unread bytes of a file.
#[derive(Debug)]
enum Step<'a> {
    /// Read until this number of bytes is in memory.
    Need(usize),
    /// Skip this number of bytes, which contain no packet.
    Skip(u64),
    /// Consume the first `length` bytes, which contain one packet.
    Packet { length: usize, record: Record<'a> },
}

/// Reason why the file cannot be read further.
enum Fault {
    Truncated,
    Corrupt(&'static str),
    Io(io::Error),
}

impl CaptureFile {
    /// Opens a capture file of either format.
    ///
    /// # Errors
    ///
    /// - [`SensorError::Io`] if the file cannot be read,
    /// - [`SensorError::NotACapture`] if it has another format,
    /// - [`SensorError::Truncated`] if it ends within its header,
    /// - [`SensorError::UnsupportedLinkType`] if the frames of a pcap cannot be decoded. In a
    ///   pcapng, packets of an interface with an unsupported link type are only counted.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SensorError> {
        let name = path.as_ref().display().to_string();
        match File::open(path) {
            Ok(file) => Self::from_reader(name, file),
            Err(source) => Err(SensorError::Io { name, source }),
        }
    }
}

impl<R: Read> CaptureFile<R> {
    /// Reads a capture from any reader, which needs no buffer. `name` is for messages.
    ///
    /// # Errors
    ///
    /// As [`CaptureFile::open`].
    pub fn from_reader(name: impl Into<String>, reader: R) -> Result<Self, SensorError> {
        let name = name.into();
        let mut window = Window::new(reader);
        let io_error = |source| SensorError::Io { name: name.clone(), source };
        // The length of a pcap header; the first block of a pcapng is longer.
        let complete = window.fill(pcap::HEADER).map_err(io_error)?;
        let format = if pcapng::is_pcapng(window.bytes()) {
            Format::Pcapng(Pcapng::default())
        } else if pcap::is_pcap(window.bytes()) {
            if !complete {
                return Err(SensorError::Truncated { name, packets: 0, offset: 0 });
            }
            let Some(header) = pcap::header(window.bytes()) else {
                return Err(SensorError::NotACapture { name });
            };
            window.consume(pcap::HEADER);
            match Pcap::new(&header) {
                Ok(pcap) => Format::Pcap(pcap),
                Err(number) => return Err(SensorError::UnsupportedLinkType { name, number }),
            }
        } else {
            return Err(SensorError::NotACapture { name });
        };
        let stats = SensorStats::default();
        let (targets, decoder) = (Targets::all(), Decoder::new());
        let latest = Instant::default();
        Ok(Self { name, window, format, targets, decoder, stats, latest, ended: false })
    }

    /// Observes only packets to `targets`, and counts the others as
    /// [`Rejected::NotForThisHost`]. By default packets to every single host are observed.
    #[must_use]
    pub fn watching(mut self, targets: Targets) -> Self {
        self.targets = targets;
        self
    }

    /// Reads up to `budget` packets or other blocks. Returns `false` at the end of the file.
    fn read(&mut self, budget: usize, sink: &mut dyn FnMut(&Observation)) -> Result<bool, Fault> {
        let mut records = 0;
        while records < budget {
            let bytes = self.window.bytes();
            let step = match &mut self.format {
                Format::Pcap(pcap) => pcap.step(bytes),
                Format::Pcapng(pcapng) => pcapng.step(bytes),
            };
            match step.map_err(Fault::Corrupt)? {
                Step::Packet { length, record } => {
                    records += 1;
                    self.stats.received += 1;
                    self.latest = self.latest.max(instant(record.time));
                    match observed(&mut self.decoder, &record, &self.targets) {
                        Ok(packet) => sink(&packet.observation(record.time, 0).at(self.latest)),
                        Err(kind) => {
                            self.stats.tally.add(kind);
                            while let Some(packet) = self.decoder.unfinished() {
                                sink(&packet.observation(record.time, 0).at(self.latest));
                            }
                        }
                    }
                    self.window.consume(length);
                }
                Step::Skip(length) => {
                    records += 1;
                    if !self.window.skip(length).map_err(Fault::Io)? {
                        return Err(Fault::Truncated);
                    }
                }
                Step::Need(length) => {
                    if !self.window.fill(length).map_err(Fault::Io)? {
                        let at_end = self.window.bytes().is_empty();
                        return if at_end { Ok(false) } else { Err(Fault::Truncated) };
                    }
                }
            }
        }
        Ok(true)
    }
}

/// Decodes the packet of a record, and checks its target and its source.
fn observed(
    decoder: &mut Decoder,
    record: &Record<'_>,
    targets: &Targets,
) -> Result<Packet, Rejected> {
    let link = record.link.ok_or(Rejected::UnknownLinkType)?;
    let frame = Frame {
        link,
        captured: record.frame,
        wire_length: record.wire_length,
        checksum: ChecksumState::Unknown,
    };
    // The packets are the only clock of a file.
    decoder.decode(&frame, instant(record.time), |source, target| {
        if !targets.contains(target) {
            Err(Rejected::NotForThisHost)
        } else if martian_source(source, link.marks_loopback(record.frame)) {
            Err(Rejected::MartianSource)
        } else {
            Ok(())
        }
    })
}

/// Returns the time stamp as an instant. Time stamps before 1970 become the origin.
fn instant(time: Timestamp) -> Instant {
    Instant::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(0))
}

impl<R: Read> Sensor for CaptureFile<R> {
    fn name(&self) -> &str {
        &self.name
    }

    /// Waits for data if the file is a pipe, so it never returns [`Drained::Empty`]. Allocates
    /// only for a packet longer than all before, for options of pcapng blocks and for fragments.
    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        if self.ended {
            return Ok(Drained::End);
        }
        let outcome = self.read(budget, sink);
        self.ended = !matches!(outcome, Ok(true));
        let (packets, offset) = (self.stats.received, self.window.offset());
        let name = || self.name.clone();
        match outcome {
            Ok(true) => Ok(Drained::More),
            Ok(false) => Ok(Drained::End),
            Err(Fault::Truncated) => Err(SensorError::Truncated { name: name(), packets, offset }),
            Err(Fault::Corrupt(reason)) => {
                Err(SensorError::Corrupt { name: name(), packets, offset, reason })
            }
            Err(Fault::Io(source)) => Err(SensorError::Io { name: name(), source }),
        }
    }

    fn stats(&mut self) -> SensorStats {
        SensorStats { reassembly: self.decoder.stats(), ..self.stats.clone() }
    }
}
