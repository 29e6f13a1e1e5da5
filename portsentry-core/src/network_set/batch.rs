//! Addresses that are looked up together.

/// Maximum number of addresses in a batch: one bit of a `u64` for each.
pub(super) const LENGTH: usize = u64::BITS as usize;

/// Addresses of one type, with the numbers of their bits.
#[derive(Clone, Copy)]
pub(super) struct Batch<T> {
    pub(super) addresses: [T; LENGTH],
    pub(super) places: [u8; LENGTH],
    pub(super) length: usize,
}

impl<T: Copy + Default> Default for Batch<T> {
    fn default() -> Self {
        let addresses = [T::default(); LENGTH];
        Self { addresses, places: [0; LENGTH], length: 0 }
    }
}

impl<T: Copy> Batch<T> {
    pub(super) fn push(&mut self, place: usize, address: T) {
        let rooms = self.addresses.get_mut(self.length).zip(self.places.get_mut(self.length));
        if let Some((room, its_place)) = rooms {
            (*room, *its_place) = (address, place as u8);
            self.length += 1;
        }
    }

    pub(super) fn map<U>(&self, mut each: impl FnMut(T) -> U) -> Batch<U> {
        Batch { addresses: self.addresses.map(&mut each), places: self.places, length: self.length }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = T> {
        self.addresses.iter().copied().take(self.length)
    }

    /// Returns the bits of the addresses for which `holds` returns true, given the result of
    /// the search for each.
    pub(super) fn bits(&self, found: [u32; LENGTH], holds: impl Fn(T, usize) -> bool) -> u64 {
        let found = self.addresses().zip(found).zip(self.places);
        found.fold(0, |bits, ((address, found), place)| {
            bits | u64::from(holds(address, found as usize)) << place
        })
    }
}
