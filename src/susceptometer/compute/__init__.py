"""Where cells run and how a reading is stored, resumed and extended."""
