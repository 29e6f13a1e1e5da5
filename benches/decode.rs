//! What decoding costs, per frame.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use portsentry_benches::{Form, Scan};
use portsentry_capture::{LinkType, decode};

/// Few enough to stay in the cache: memory is not what is measured.
const FRAMES: usize = 256;

fn per_frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for form in Form::ALL {
        let frames: Vec<_> = Scan::new(form, 1000, 1).take(FRAMES).collect();
        assert!(frames.iter().all(|frame| decode(LinkType::Ethernet, frame).is_ok()));
        group.bench_function(format!("{form:?}"), |bencher| {
            bencher.iter_custom(|count| {
                let start = Instant::now();
                for frame in frames.iter().cycle().take(count as usize) {
                    black_box(&decode(LinkType::Ethernet, black_box(frame)));
                }
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, per_frame);
criterion_main!(benches);
