//! What the shop sells, in words: categories, the things in them and what goes well together.

/// A category of products.
#[derive(Debug)]
pub(crate) struct Ware {
    /// The `category` of events.
    pub(crate) category: &'static str,
    /// Typical prices, minor units.
    pub(crate) price_minor: (u32, u32),
    /// Category whose products are bought along with these.
    pub(crate) goes_with: usize,
    /// Share of the demand, relative.
    pub(crate) weight: f64,
    /// Kinds of things.
    pub(crate) nouns: &'static [&'static str],
}

/// The twelve categories.
pub(crate) static WARES: &[Ware] = &[
    Ware {
        category: "phones",
        price_minor: (14_900, 119_900),
        goes_with: 1,
        weight: 1.2,
        nouns: &["Smartphone", "Senior Phone", "Foldable Phone", "Rugged Phone", "Compact Phone", "Gaming Phone"],
    },
    Ware {
        category: "phone_accessories",
        price_minor: (790, 5_990),
        goes_with: 0,
        weight: 1.3,
        nouns: &[
            "Phone Case",
            "Screen Protector",
            "Fast Charger",
            "Power Bank",
            "USB-C Cable",
            "Car Mount",
            "Phone Grip",
        ],
    },
    Ware {
        category: "audio",
        price_minor: (1_990, 39_900),
        goes_with: 1,
        weight: 1.1,
        nouns: &["Wireless Earbuds", "Over-Ear Headphones", "Bluetooth Speaker", "Soundbar", "Turntable", "Microphone"],
    },
    Ware {
        category: "computers",
        price_minor: (2_990, 189_900),
        goes_with: 2,
        weight: 1.0,
        nouns: &[
            "Laptop",
            "Monitor",
            "Mechanical Keyboard",
            "Wireless Mouse",
            "Docking Station",
            "Portable SSD",
            "Webcam",
        ],
    },
    Ware {
        category: "kitchen",
        price_minor: (1_290, 24_900),
        goes_with: 5,
        weight: 0.9,
        nouns: &[
            "Espresso Machine",
            "Chef's Knife",
            "Cast Iron Pan",
            "Stand Mixer",
            "Kettle",
            "Air Fryer",
            "Cutting Board",
        ],
    },
    Ware {
        category: "home",
        price_minor: (990, 29_900),
        goes_with: 4,
        weight: 0.9,
        nouns: &[
            "Desk Lamp",
            "Wool Blanket",
            "Wall Clock",
            "Bookshelf",
            "Storage Basket",
            "Floor Mirror",
            "Scented Candle",
        ],
    },
    Ware {
        category: "garden",
        price_minor: (690, 34_900),
        goes_with: 5,
        weight: 0.6,
        nouns: &[
            "Garden Hose",
            "Pruning Shears",
            "Raised Bed",
            "Watering Can",
            "Hedge Trimmer",
            "Planter",
            "Fire Bowl",
        ],
    },
    Ware {
        category: "sports",
        price_minor: (1_490, 49_900),
        goes_with: 8,
        weight: 0.9,
        nouns: &[
            "Yoga Mat",
            "Dumbbell Set",
            "Tennis Racket",
            "Trail Backpack",
            "Cycling Helmet",
            "Sleeping Bag",
            "Kettlebell",
        ],
    },
    Ware {
        category: "shoes",
        price_minor: (3_990, 17_900),
        goes_with: 9,
        weight: 1.2,
        nouns: &["Running Shoes", "Hiking Boots", "Sneakers", "Sandals", "Leather Boots", "Trail Shoes", "Slippers"],
    },
    Ware {
        category: "clothing",
        price_minor: (1_290, 14_900),
        goes_with: 8,
        weight: 1.4,
        nouns: &[
            "Rain Jacket",
            "Merino Sweater",
            "Jeans",
            "Linen Shirt",
            "Running Socks",
            "Down Vest",
            "Dress",
            "T-Shirt",
        ],
    },
    Ware {
        category: "toys",
        price_minor: (890, 12_900),
        goes_with: 11,
        weight: 0.8,
        nouns: &["Building Blocks", "Board Game", "Plush Bear", "Model Train", "Puzzle", "Science Kit", "Kite"],
    },
    Ware {
        category: "beauty",
        price_minor: (590, 8_900),
        goes_with: 9,
        weight: 0.9,
        nouns: &["Face Cream", "Shampoo", "Hair Dryer", "Perfume", "Beard Oil", "Sunscreen", "Nail Set"],
    },
];
