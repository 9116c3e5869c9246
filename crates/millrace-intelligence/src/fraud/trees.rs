//! The challenger: gradient-boosted trees on histograms, trained in one go on what has matured.
//!
//! Sources: J. Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001; T. Chen and C. Guestrin, "XGBoost",
//! KDD 2016 (gain and leaf values with second derivatives); G. Ke et al., "LightGBM", NIPS 2017 (histograms, and the one of a
//! sibling by subtraction). Deterministic: the same rows and seed give the same trees.

use serde::{Deserialize, Serialize};

use crate::recommend::stored::{Bytes, RestoreError, Stored, stored_fields};

/// Bins of a feature; the last one is for what is not known.
const BINS: usize = 64;
const UNKNOWN: u8 = (BINS - 1) as u8;
/// Rows that bins are cut by.
const CUT_ROWS: usize = 50_000;

/// How trees are grown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeSettings {
    /// Trees.
    pub trees: usize,
    /// Questions from the root to a leaf.
    pub depth: usize,
    /// Part of a tree's answer that counts.
    pub shrinkage: f32,
    /// Weight of the penalty on leaf values.
    pub l2: f32,
    /// Least sum of second derivatives in a leaf.
    pub leaf_weight_min: f32,
    /// Part of the rows, and of the features, that a tree sees.
    pub rows: f32,
    /// Part of the features that a tree sees.
    pub features: f32,
    /// Seed of the choice.
    pub seed: u64,
}

impl Default for TreeSettings {
    fn default() -> Self {
        TreeSettings {
            trees: 120,
            depth: 5,
            shrinkage: 0.08,
            l2: 5.0,
            leaf_weight_min: 2.0,
            rows: 0.6,
            features: 0.6,
            seed: 1,
        }
    }
}

/// A boosted model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trees {
    start: f32,
    trees: Vec<Vec<Node>>,
}
stored_fields!(Trees { start, trees });

impl Stored for Node {
    fn store(&self, out: &mut Vec<u8>) {
        match *self {
            Node::Leaf(value) => (0_u8, value).store(out),
            Node::Split { feature, at_most, unknown_left, left, right } => {
                (1 + u8::from(unknown_left), at_most).store(out);
                (u32::from(feature), (left, right)).store(out);
            }
        }
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        let (kind, value) = <(u8, f32)>::restore(from)?;
        if kind == 0 {
            return Ok(Node::Leaf(value));
        }
        let (feature, (left, right)) = <(u32, (u32, u32))>::restore(from)?;
        let feature = u16::try_from(feature).map_err(|_| RestoreError::Unreadable("a feature"))?;
        Ok(Node::Split { feature, at_most: value, unknown_left: kind == 2, left, right })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Node {
    Leaf(f32),
    /// At most this value: to the first node, else (and when not known, if so) to the second.
    Split {
        feature: u16,
        at_most: f32,
        unknown_left: bool,
        left: u32,
        right: u32,
    },
}

/// Sums of gradients and second derivatives.
#[derive(Clone, Copy, Default)]
struct Cell {
    gradient: f64,
    weight: f64,
}

impl Cell {
    fn plus(self, other: Cell) -> Cell {
        Cell { gradient: self.gradient + other.gradient, weight: self.weight + other.weight }
    }

    fn minus(self, other: Cell) -> Cell {
        Cell { gradient: self.gradient - other.gradient, weight: self.weight - other.weight }
    }

    fn gain(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.weight + l2)
    }
}

type Histogram = Vec<[Cell; BINS]>;

struct Training<'a> {
    settings: TreeSettings,
    /// Bins by feature, then row.
    bins: Vec<Vec<u8>>,
    /// Upper ends of the bins by feature.
    cuts: Vec<Vec<f32>>,
    labels: &'a [bool],
}

impl Trees {
    /// Grows trees on these rows; `None` when there is no fraud, or nothing else, among them.
    pub fn train<R: AsRef<[f32]>>(rows: &[R], labels: &[bool], settings: TreeSettings) -> Option<Self> {
        let positives = labels.iter().filter(|label| **label).count();
        let start = (positives as f32 / (rows.len() - positives) as f32).ln();
        Trees::grow(rows, vec![start; rows.len()], labels, settings, start)
    }

    /// The same beside something that scored each row before, as a logarithm of odds: what is left to say.
    pub fn train_beside<R: AsRef<[f32]>>(
        rows: &[R],
        before: &[f32],
        labels: &[bool],
        settings: TreeSettings,
    ) -> Option<Self> {
        Trees::grow(rows, before.to_vec(), labels, settings, 0.0)
    }

    fn grow<R: AsRef<[f32]>>(
        rows: &[R],
        mut logits: Vec<f32>,
        labels: &[bool],
        settings: TreeSettings,
        start: f32,
    ) -> Option<Self> {
        let positives = labels.iter().filter(|label| **label).count();
        if positives == 0 || positives == rows.len() {
            return None;
        }
        let features = rows.first().map_or(0, |row| row.as_ref().len());
        let cuts: Vec<Vec<f32>> = (0..features).map(|feature| cuts(rows, feature)).collect();
        let bins = (cuts.iter().enumerate())
            .map(|(at, cuts)| rows.iter().map(|row| bin(row.as_ref()[at], cuts)).collect())
            .collect();
        let training = Training { settings, bins, cuts, labels };
        let mut dice = settings.seed;
        let mut trees = Vec::new();
        for _ in 0..settings.trees {
            let tree = training.tree(&logits, &mut dice);
            for (logit, row) in logits.iter_mut().zip(rows) {
                *logit += answer(&tree, row.as_ref());
            }
            trees.push(tree);
        }
        Some(Trees { start, trees })
    }

    /// The logarithm of the odds that a payment is fraudulent.
    pub fn logit(&self, vector: &[f32]) -> f32 {
        self.start + self.trees.iter().map(|tree| answer(tree, vector)).sum::<f32>()
    }
}

fn answer(tree: &[Node], vector: &[f32]) -> f32 {
    let mut at = 0;
    loop {
        match tree[at] {
            Node::Leaf(value) => return value,
            Node::Split { feature, at_most, unknown_left, left, right } => {
                let value = vector[usize::from(feature)];
                let goes_left = if value.is_nan() { unknown_left } else { value <= at_most };
                at = if goes_left { left } else { right } as usize;
            }
        }
    }
}

/// Upper ends of bins that hold about as many rows each.
fn cuts<R: AsRef<[f32]>>(rows: &[R], feature: usize) -> Vec<f32> {
    let step = rows.len().div_ceil(CUT_ROWS);
    let mut values: Vec<f32> =
        rows.iter().step_by(step).map(|row| row.as_ref()[feature]).filter(|value| !value.is_nan()).collect();
    values.sort_by(f32::total_cmp);
    let mut cuts = Vec::new();
    for at in 1..BINS - 1 {
        if let Some(value) = values.get(at * values.len() / (BINS - 1))
            && cuts.last() != Some(value)
        {
            cuts.push(*value);
        }
    }
    // The rare large values matter most for fraud: the last bins are cut by hundredths and thousandths.
    for part in [0.99, 0.995, 0.999] {
        let at = (values.len() as f64 * part) as usize;
        if let Some(value) = values.get(at)
            && cuts.last().is_none_or(|last| last < value)
            && cuts.len() < BINS - 2
        {
            cuts.push(*value);
        }
    }
    cuts
}

fn bin(value: f32, cuts: &[f32]) -> u8 {
    if value.is_nan() { UNKNOWN } else { cuts.partition_point(|cut| *cut < value) as u8 }
}

/// A number from 0 to 1. Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014 (splitmix64).
fn roll(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
}

/// A node whose rows are known and whose question is not.
struct Open {
    node: usize,
    rows: Vec<u32>,
    histogram: Histogram,
    total: Cell,
}

impl Training<'_> {
    fn tree(&self, logits: &[f32], dice: &mut u64) -> Vec<Node> {
        let gradients: Vec<(f32, f32)> = (logits.iter().zip(self.labels))
            .map(|(logit, label)| {
                let probability = 1.0 / (1.0 + (-logit).exp());
                (probability - f32::from(u8::from(*label)), probability * (1.0 - probability))
            })
            .collect();
        let rows: Vec<u32> = (0..self.labels.len() as u32).filter(|_| roll(dice) < self.settings.rows).collect();
        let features: Vec<usize> = (0..self.cuts.len()).filter(|_| roll(dice) < self.settings.features).collect();
        let mut nodes = vec![Node::Leaf(0.0)];
        let mut level = vec![self.open(0, rows, &features, &gradients)];
        for _ in 0..self.settings.depth {
            let mut next = Vec::new();
            for open in level {
                nodes[open.node] = Node::Leaf(self.leaf(open.total));
                if let Some((feature, cut, unknown_left)) = self.best(&open, &features) {
                    let (left, right) = (nodes.len(), nodes.len() + 1);
                    nodes.extend([Node::Leaf(0.0); 2]);
                    let at_most = self.cuts[feature][cut];
                    let (left_at, right_at) = (left as u32, right as u32);
                    nodes[open.node] =
                        Node::Split { feature: feature as u16, at_most, unknown_left, left: left_at, right: right_at };
                    next.extend(self.split(open, feature, cut, unknown_left, (left, right), &features, &gradients));
                }
            }
            level = next;
        }
        for open in level {
            nodes[open.node] = Node::Leaf(self.leaf(open.total));
        }
        nodes
    }

    fn open(&self, node: usize, rows: Vec<u32>, features: &[usize], gradients: &[(f32, f32)]) -> Open {
        let mut histogram = vec![[Cell::default(); BINS]; self.cuts.len()];
        for feature in features {
            let (cells, bins) = (&mut histogram[*feature], &self.bins[*feature]);
            for row in &rows {
                let (gradient, weight) = gradients[*row as usize];
                let cell = &mut cells[usize::from(bins[*row as usize])];
                cell.gradient += f64::from(gradient);
                cell.weight += f64::from(weight);
            }
        }
        let total = rows.iter().fold(Cell::default(), |sum, row| {
            let (gradient, weight) = gradients[*row as usize];
            sum.plus(Cell { gradient: f64::from(gradient), weight: f64::from(weight) })
        });
        Open { node, rows, histogram, total }
    }

    /// The question with the largest gain: feature, bin, and whether the unknown go left.
    fn best(&self, open: &Open, features: &[usize]) -> Option<(usize, usize, bool)> {
        let (l2, least) = (f64::from(self.settings.l2), f64::from(self.settings.leaf_weight_min));
        let whole = open.total.gain(l2);
        let mut best = (1e-6, None);
        for feature in features {
            let cells = &open.histogram[*feature];
            let unknown = cells[usize::from(UNKNOWN)];
            let mut left = Cell::default();
            for (cut, cell) in cells.iter().take(self.cuts[*feature].len()).enumerate() {
                left = left.plus(*cell);
                for (unknown_left, left) in [(false, left), (true, left.plus(unknown))] {
                    let right = open.total.minus(left);
                    let gain = left.gain(l2) + right.gain(l2) - whole;
                    if left.weight >= least && right.weight >= least && gain > best.0 {
                        best = (gain, Some((*feature, cut, unknown_left)));
                    }
                }
            }
        }
        best.1
    }

    #[expect(clippy::too_many_arguments, reason = "a question and the two nodes it leads to")]
    fn split(
        &self,
        open: Open,
        feature: usize,
        cut: usize,
        unknown_left: bool,
        (left, right): (usize, usize),
        features: &[usize],
        gradients: &[(f32, f32)],
    ) -> [Open; 2] {
        let bins = &self.bins[feature];
        let goes_left = |row: &u32| match bins[*row as usize] {
            UNKNOWN => unknown_left,
            bin => usize::from(bin) <= cut,
        };
        let (left_rows, right_rows): (Vec<u32>, Vec<u32>) = open.rows.iter().partition(|row| goes_left(row));
        let left_is_small = left_rows.len() <= right_rows.len();
        let (small_rows, large_rows) = if left_is_small { (left_rows, right_rows) } else { (right_rows, left_rows) };
        let small = self.open(if left_is_small { left } else { right }, small_rows, features, gradients);
        let mut histogram = open.histogram;
        for feature in features {
            for (cell, less) in histogram[*feature].iter_mut().zip(&small.histogram[*feature]) {
                *cell = cell.minus(*less);
            }
        }
        let total = open.total.minus(small.total);
        [Open { node: if left_is_small { right } else { left }, rows: large_rows, histogram, total }, small]
    }

    fn leaf(&self, total: Cell) -> f32 {
        (-total.gradient / (total.weight + f64::from(self.settings.l2))) as f32 * self.settings.shrinkage
    }
}
