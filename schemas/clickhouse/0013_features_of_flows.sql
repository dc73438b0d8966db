-- What flowed beside a bar: the logarithm of 1 + USD liquidated by side, the change of open interest (base units, as a fraction), the predicted
-- funding rate against its 30 days.
ALTER TABLE features_changes
    ADD COLUMN IF NOT EXISTS log_liquidated_long_usd  Nullable(Float64) AFTER taker_imbalance,
    ADD COLUMN IF NOT EXISTS log_liquidated_short_usd Nullable(Float64) AFTER log_liquidated_long_usd,
    ADD COLUMN IF NOT EXISTS oi_change                Nullable(Float64) AFTER log_liquidated_short_usd,
    ADD COLUMN IF NOT EXISTS funding_z_score          Nullable(Float64) AFTER oi_change;
