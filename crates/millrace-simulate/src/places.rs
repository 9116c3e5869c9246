//! Where people are: cities with coordinates, so that impossible travel is a matter of arithmetic.

/// A city.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) city: &'static str,
    /// ISO 3166-1 alpha-2.
    pub(crate) country: &'static str,
    /// Ten-thousandths of a degree.
    pub(crate) latitude: i32,
    /// Ten-thousandths of a degree.
    pub(crate) longitude: i32,
    /// Share of the visitors, relative.
    weight: u16,
}

const fn place(city: &'static str, country: &'static str, latitude: i32, longitude: i32, weight: u16) -> Place {
    Place { city, country, latitude, longitude, weight }
}

/// The shop sells in Europe; the far places have few visitors.
pub(crate) static PLACES: &[Place] = &[
    place("Berlin", "DE", 525_200, 134_050, 90),
    place("Hamburg", "DE", 535_511, 99_937, 60),
    place("Munich", "DE", 481_351, 115_820, 65),
    place("Cologne", "DE", 509_375, 69_603, 50),
    place("Vienna", "AT", 482_082, 163_738, 50),
    place("Zurich", "CH", 473_769, 85_417, 30),
    place("Paris", "FR", 488_566, 23_522, 90),
    place("Lyon", "FR", 457_640, 48_357, 35),
    place("Marseille", "FR", 432_965, 53_698, 30),
    place("Madrid", "ES", 404_168, -37_038, 55),
    place("Barcelona", "ES", 413_874, 21_686, 45),
    place("Lisbon", "PT", 387_223, -91_393, 25),
    place("Rome", "IT", 419_028, 124_964, 50),
    place("Milan", "IT", 454_642, 91_900, 50),
    place("Amsterdam", "NL", 523_676, 49_041, 45),
    place("Rotterdam", "NL", 519_244, 44_777, 25),
    place("Brussels", "BE", 508_503, 43_517, 30),
    place("Luxembourg", "LU", 496_116, 61_319, 8),
    place("Dublin", "IE", 533_498, -62_603, 25),
    place("London", "GB", 515_074, -1_278, 60),
    place("Manchester", "GB", 534_808, -22_426, 20),
    place("Copenhagen", "DK", 556_761, 125_683, 20),
    place("Stockholm", "SE", 593_293, 180_686, 20),
    place("Oslo", "NO", 599_139, 107_522, 12),
    place("Helsinki", "FI", 601_699, 249_384, 18),
    place("Warsaw", "PL", 522_297, 210_122, 30),
    place("Prague", "CZ", 500_755, 144_378, 18),
    place("Budapest", "HU", 474_979, 190_402, 12),
    place("Athens", "GR", 379_838, 237_275, 15),
    place("Bucharest", "RO", 444_268, 261_025, 10),
    place("New York", "US", 407_128, -740_060, 14),
    place("San Francisco", "US", 377_749, -1_224_194, 8),
    place("Toronto", "CA", 436_532, -793_832, 6),
    place("Sao Paulo", "BR", -235_505, -466_333, 4),
    place("Lagos", "NG", 65_244, 33_792, 2),
    place("Singapore", "SG", 13_521, 1_038_198, 4),
    place("Tokyo", "JP", 356_762, 1_396_503, 4),
    place("Sydney", "AU", -338_688, 1_512_093, 4),
];

/// From here on, every place is an ocean away from the others before it.
pub(crate) const FIRST_FAR: u8 = 30;

/// Shares of the places, in their order.
pub(crate) fn weights() -> Vec<f64> {
    PLACES.iter().map(|place| f64::from(place.weight)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_is_far() {
        for far in &PLACES[usize::from(FIRST_FAR)..] {
            for near in &PLACES[..usize::from(FIRST_FAR)] {
                assert!(kilometres(far, near) > 3_500.0, "{} and {}", far.city, near.city);
            }
        }
    }

    /// Haversine distance on a sphere of 6,371 km.
    fn kilometres(a: &Place, b: &Place) -> f64 {
        let radians = |e4: i32| f64::from(e4).to_radians() / 10_000.0;
        let (latitude_a, latitude_b) = (radians(a.latitude), radians(b.latitude));
        let across = (radians(a.longitude - b.longitude) / 2.0).sin().powi(2);
        let along = ((latitude_a - latitude_b) / 2.0).sin().powi(2);
        2.0 * 6_371.0 * (along + latitude_a.cos() * latitude_b.cos() * across).sqrt().asin()
    }
}
