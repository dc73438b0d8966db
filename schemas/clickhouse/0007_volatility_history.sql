-- What 24 hours and 90 days say beside a minute's volatility: the regime's share of the last 24 h, the distance of the level from its 90-day
-- median as a fraction of it, and the half-life of log daily variance.
ALTER TABLE volatility_changes
    ADD COLUMN IF NOT EXISTS regime_share        Nullable(Float64) AFTER risk_multiplier,
    ADD COLUMN IF NOT EXISTS reversion_potential Nullable(Float64) AFTER regime_share,
    ADD COLUMN IF NOT EXISTS half_life_minutes   Nullable(Float64) AFTER reversion_potential;
