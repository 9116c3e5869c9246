-- Why a job stands still, when it does.
ALTER TABLE job_progress ADD COLUMN trouble TEXT;
