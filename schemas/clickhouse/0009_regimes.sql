-- What hidden Markov models say of closed bars.

-- The active model at each closed bar. Probabilities, smoothed: one per state; forecast: all states one bar ahead, then two, …
CREATE TABLE IF NOT EXISTS regimes_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    timeframe              LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    model                  LowCardinality(String),
    state                  Nullable(UInt8),
    label                  LowCardinality(String),
    firm                   UInt8,
    probability            Float64,
    probabilities          Array(Float64),
    smoothed               Array(Float64),
    viterbi_state          UInt8,
    viterbi_label          LowCardinality(String),
    surprise               Float64,
    forecast               Array(Float64),
    expected_duration_bars Nullable(Float64),
    entropy                Float64,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, timeframe, ts, known_at, diff);

-- What the newest candidate would say beside it.
CREATE TABLE IF NOT EXISTS candidate_regimes_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    timeframe              LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    model                  LowCardinality(String),
    state                  Nullable(UInt8),
    label                  LowCardinality(String),
    firm                   UInt8,
    probability            Float64,
    probabilities          Array(Float64),
    smoothed               Array(Float64),
    viterbi_state          UInt8,
    viterbi_label          LowCardinality(String),
    surprise               Float64,
    forecast               Array(Float64),
    expected_duration_bars Nullable(Float64),
    entropy                Float64,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, timeframe, ts, known_at, diff);

-- The last bars by themselves.
CREATE TABLE IF NOT EXISTS window_regimes_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    timeframe              LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    model                  LowCardinality(String),
    window_bars            UInt32,
    state                  UInt8,
    label                  LowCardinality(String),
    probabilities          Array(Float64),
    share                  Map(String, Float64),
    switches               UInt32,
    log_likelihood_per_bar Float64,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, timeframe, ts, known_at, diff);

-- What the time frames of a symbol say together, on all venues (venue is empty).
CREATE TABLE IF NOT EXISTS confirmations_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    primary_regime         LowCardinality(String),
    confidence             Float64,
    confirmed              UInt8,
    agreeing               Array(String),
    present                Array(String),
    product_posterior      Array(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, ts, known_at, diff);

-- Whether the active model still fits.
CREATE TABLE IF NOT EXISTS drift_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    timeframe              LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    model                  LowCardinality(String),
    surprise_z             Float64,
    drift_score            Float64,
    drifting               UInt8,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, timeframe, ts, known_at, diff);

-- Changes of regime, confirmations and drift, each from its beginning to its end.
CREATE TABLE IF NOT EXISTS regime_episodes_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    type                   LowCardinality(String),
    timeframe              LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    ended_at               Nullable(DateTime64(3, 'UTC')),
    from                   LowCardinality(String),
    to                     LowCardinality(String),
    model                  LowCardinality(String),
    strength               Float64,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (venue, symbol, type, timeframe, onset, known_at, diff);
